#!/usr/bin/env node
// Builds the benchmarks (and, for the product's sides, what they measure), then runs them: they measure compiled code only.
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
const projects =
  args.includes('--baselines') || args.includes('--help')
    ? ['test/bench']
    : ['test/bench', 'test/bench/product', 'apps/gateway', 'apps/queue-manager'];

const build = spawnSync(process.execPath, ['node_modules/typescript7/bin/tsc', '-b', ...projects], { cwd: root, stdio: 'inherit' });
if (build.status !== 0) {
  console.error('The benchmarks measure compiled code, and the build failed.');
  process.exit(build.status ?? 1);
}

// INIT_CWD is where the user called npm: a relative --json file belongs there.
const bench = spawn(process.execPath, [`${root}/test/bench/dist/main.js`, ...args], {
  cwd: process.env.INIT_CWD ?? process.cwd(),
  stdio: 'inherit',
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => bench.kill(signal));
bench.on('exit', (code) => process.exit(code ?? 1));
