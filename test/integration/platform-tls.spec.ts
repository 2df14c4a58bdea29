import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatTable, type Platform, SERVICES, startPlatform } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.js';

let root: string;
let platform: Platform;

/** A program that answers on its port, over TLS or not. */
function program(name: string, tls: boolean): void {
  mkdirSync(join(root, 'apps', name, 'dist'), { recursive: true });
  const options = tls ? '{ cert: readFileSync(process.env.JETLANE_TLS_CERT), key: readFileSync(process.env.JETLANE_TLS_KEY) }' : '{}';
  writeFileSync(
    join(root, `apps/${name}/dist/main.js`),
    `const { readFileSync } = require('node:fs');
     const { createServer } = require('node:${tls ? 'https' : 'http'}');
     const server = createServer(${options}, (request, response) => response.end('{}'));
     server.listen(process.env.${name.toUpperCase().replace('-', '_')}_PORT, '127.0.0.1');
     process.on('SIGTERM', () => process.exit(0));`,
  );
}

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'jetlane-platform-tls-'));
  const { certFile, keyFile } = makeCertificate(root, 'elsewhere.example');
  program('gateway', true);
  program('scheduler', false);
  const services = SERVICES.filter(({ name }) => name === 'gateway' || name === 'scheduler');
  // The database runs elsewhere: nobody asks it here.
  const env = { JETLANE_TLS_CERT: certFile, JETLANE_TLS_KEY: keyFile, DATABASE_URL: 'postgres://a:b@127.0.0.1:1/c', NATS_URL: '' };
  platform = await startPlatform({ ports: 'random', root, dataDir: join(root, 'data'), services, env });
});
afterAll(async () => {
  await platform?.stop();
  rmSync(root, { recursive: true, force: true });
});

describe('the launcher, with a certificate set', () => {
  it('asks the gateway over https, whatever name its certificate has, and the other services over http', async () => {
    expect(platform.urls.gateway).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(platform.services.get('scheduler')?.url).toMatch(/^http:/);
    expect(await platform.services.get('gateway')?.isReady()).toBe(true);
  });

  it('tells people the right addresses', () => {
    expect(formatTable(platform)).toMatch(/API +https:\/\/127\.0\.0\.1:\d+\/api\/queue/);
  });
});
