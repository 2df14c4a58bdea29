// npm run build: compiles libraries and services, builds the page. `--force` compiles everything anew.
import { ensureBuilt } from './lib/build.mjs';
import { report } from './lib/fail.mjs';

try {
  await ensureBuilt({ force: process.argv.includes('--force') });
} catch (error) {
  report(error);
  process.exitCode = 1;
}
