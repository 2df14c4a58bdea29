#!/usr/bin/env node
// Makes an API key for the gateway: builds the gateway where it is not built yet, then asks it.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = `${root}apps/gateway/dist/make-key.js`;
const run = (...args) => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1;

const built = existsSync(program) ? 0 : run('node_modules/typescript7/bin/tsc', '-b', 'apps/gateway');
process.exitCode = built === 0 ? run(program, ...process.argv.slice(2)) : built;
