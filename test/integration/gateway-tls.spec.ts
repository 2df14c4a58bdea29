import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type PeerCertificate } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.js';
import { eventually } from '../support/wait-until.js';
import { GatewayFixture } from './gateway-fixture.js';

let folder: string;
let gateway: GatewayFixture;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-tls-'));
  for (const name of ['first', 'second']) makeCertificate(folder, name);
  await copyFile(at('first.crt'), at('tls.crt'));
  await copyFile(at('first.key'), at('tls.key'));
  gateway = await GatewayFixture.start({ JETLANE_TLS_CERT: at('tls.crt'), JETLANE_TLS_KEY: at('tls.key') });
});

afterAll(async () => {
  await gateway.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Name in the certificate that a new connection is shown. */
function shownName(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: gateway.port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false }, () => {
      const { subject } = socket.getPeerCertificate() as PeerCertificate;
      socket.destroy();
      resolve(String(subject.CN));
    });
    socket.once('error', reject);
  });
}

function statusOf(path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = {
      port: gateway.port,
      host: '127.0.0.1',
      path,
      rejectUnauthorized: false,
      agent: false,
      headers: { host: 'localhost' },
    };
    request(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .once('error', reject)
      .end();
  });
}

describe('TLS', () => {
  it('serves the API over https, and nothing else on that port', async () => {
    expect(gateway.url).toMatch(/^https:/);
    expect([await statusOf('/api/queue/stats'), await statusOf('/health/ready')]).toEqual([200, 200]);
    await expect(fetch(`http://127.0.0.1:${gateway.port}/health/live`)).rejects.toThrow();
  });

  it('refuses old versions', async () => {
    const refused = await new Promise((resolve) => {
      const socket = connect({
        port: gateway.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        minVersion: 'TLSv1',
        maxVersion: 'TLSv1.1',
      });
      socket.once('secureConnect', () => resolve(false));
      socket.once('error', () => resolve(true));
    });
    expect(refused).toBe(true);
  });

  it('shows a new certificate without a restart, and open connections stay', async () => {
    expect(await shownName()).toBe('first');
    const open = connect({ port: gateway.port, host: '127.0.0.1', rejectUnauthorized: false });
    await new Promise((resolve) => open.once('secureConnect', resolve));
    // One file after the other: for a moment they do not fit, and the old pair is kept.
    await copyFile(at('second.crt'), at('tls.crt'));
    await eventually('the log tells that the files do not fit', () => gateway.logged.some((line) => line.includes('tls:reload-failed')));
    expect(await shownName()).toBe('first');
    await copyFile(at('second.key'), at('tls.key'));
    await eventually('the new certificate is shown', async () => (await shownName()) === 'second');
    const answer = new Promise((resolve) => open.once('data', (data) => resolve(data.toString())));
    open.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});
