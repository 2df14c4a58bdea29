import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../apps/gateway/dist/main.js', import.meta.url));

it('refuses to serve the network without keys, in one sentence', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN], {
    env: { PATH: process.env.PATH, HOST: '0.0.0.0', GATEWAY_PORT: '0', LOG_FORMAT: 'json' },
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(status).toBe(1);
  expect(stdout + stderr).toContain('HOST=0.0.0.0 lets other machines in, but JETLANE_API_KEYS names no key');
  expect(stdout + stderr).not.toMatch(/\n\s+at /);
});
