#!/usr/bin/env node
// Builds the services, then breaks them: see test/chaos and docs/reliability.md.
import { runnerImport } from 'vite';
import { ensureBuilt } from './lib/build.mjs';
import { report } from './lib/fail.mjs';
import { ensureInstalled } from './lib/install.mjs';
import { ROOT } from './lib/run.mjs';

try {
  await ensureInstalled();
  await ensureBuilt();
  const { module } = await runnerImport('/test/chaos/main.ts', { root: ROOT, configFile: false, logLevel: 'error' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
  process.exit(await module.main(process.argv.slice(2)));
} catch (error) {
  report(error);
  process.exit(1);
}
