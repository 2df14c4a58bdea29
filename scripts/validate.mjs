#!/usr/bin/env node
// npm run validate: builds what is missing, then looks at the installation that the environment names.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensureBuilt } from './lib/build.mjs';
import { report } from './lib/fail.mjs';
import { ensureInstalled } from './lib/install.mjs';
import { ROOT } from './lib/run.mjs';

try {
  await ensureInstalled();
  await ensureBuilt();
  const program = spawn(process.execPath, [join(ROOT, 'apps/queue-manager/dist/validate/main.js')], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => program.kill(signal));
  program.on('exit', (code) => process.exit(code ?? 1));
} catch (error) {
  report(error);
  process.exit(1);
}
