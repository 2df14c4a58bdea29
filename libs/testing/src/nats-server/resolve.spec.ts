import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../process/ports.js';
import { releasePlatform } from './release.js';
import { resolveNatsServer } from './resolve.js';

const work = mkdtempSync(join(tmpdir(), 'jetlane-resolve-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** A folder with a script that answers `--version` like a nats-server. */
function fakeServer(name: string, version: string): string {
  const dir = join(work, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'nats-server'), `#!/bin/sh\necho "nats-server: v${version}"\n`, { mode: 0o755 });
  return dir;
}

describe('resolveNatsServer', () => {
  it('takes NATS_SERVER_BIN before anything else', async () => {
    const chosen = join(fakeServer('chosen', '2.99.0'), 'nats-server');
    const env = { NATS_SERVER_BIN: chosen, PATH: fakeServer('other', '2.98.0') };
    expect(await resolveNatsServer({ env })).toEqual({ path: chosen, version: '2.99.0', source: 'NATS_SERVER_BIN' });
  });

  it('refuses a NATS_SERVER_BIN that is too old instead of overruling it', async () => {
    const env = { NATS_SERVER_BIN: join(fakeServer('old-choice', '2.10.3'), 'nats-server'), PATH: '' };
    await expect(resolveNatsServer({ env })).rejects.toMatchObject({
      code: 'nats-server-too-old',
      message: expect.stringMatching(/is nats-server 2\.10\.3 .* needs 2\.14\.0 or newer\. Update it, or unset/),
    });
  });

  it('says so when NATS_SERVER_BIN is something else', async () => {
    await expect(resolveNatsServer({ env: { NATS_SERVER_BIN: '/bin/echo' } })).rejects.toMatchObject({ code: 'nats-server-not-found' });
    await expect(resolveNatsServer({ env: { NATS_SERVER_BIN: join(work, 'nowhere') } })).rejects.toThrow(/not installed/);
  });

  it('passes over a too old one on PATH and takes the next', async () => {
    const PATH = `${fakeServer('old', '2.9.25')}:${fakeServer('new', '2.14.0')}`;
    expect(await resolveNatsServer({ env: { PATH } })).toMatchObject({ version: '2.14.0', source: 'PATH' });
  });

  it('uses the cache when PATH has nothing', async () => {
    const cacheDir = fakeServer('cache', '2.15.7');
    expect(await resolveNatsServer({ env: { PATH: '' }, cacheDir })).toMatchObject({ version: '2.15.7', source: 'cache' });
  });

  it('tells in one error everything that was tried, and the way out', async () => {
    const baseUrl = `http://127.0.0.1:${await freePort()}`;
    const options = { env: { PATH: fakeServer('old', '2.9.25') }, release: { baseUrl }, sources: ['PATH', 'release'] as const };
    const error = await resolveNatsServer(options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'nats-server-not-found', retryable: true });
    const { message } = error as Error;
    expect(message).toContain('is 2.9.25, too old');
    expect(message).toContain('cannot be reached');
    expect(message).toContain('NATS_SERVER_BIN');
  });
});

describe('the official release', () => {
  const version = '2.97.1';
  const folder = `nats-server-v${version}-${releasePlatform()}`;
  const archive = join(work, `${folder}.tar.gz`);
  let host: Server;
  let baseUrl: string;
  let sums: string;

  beforeAll(async () => {
    fakeServer(folder, version);
    execFileSync('tar', ['-czf', archive, '-C', work, folder]);
    sums = `${createHash('sha256').update(readFileSync(archive)).digest('hex')}  ${folder}.tar.gz\n`;
    host = createServer((request, response) => {
      if (request.url === `/v${version}/SHA256SUMS`) response.end(sums);
      else if (request.url === `/v${version}/${folder}.tar.gz`) response.end(readFileSync(archive));
      else response.writeHead(404).end();
    });
    await new Promise<void>((listening) => host.listen(0, '127.0.0.1', listening));
    baseUrl = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
  });
  afterAll(() => host.close());

  it('is downloaded, verified, unpacked and kept in the cache', async () => {
    const cacheDir = join(work, 'release-cache');
    const lines: string[] = [];
    const options = { env: { PATH: '' }, cacheDir, release: { baseUrl, version }, log: (line: string) => lines.push(line) };
    expect(await resolveNatsServer({ ...options, sources: ['release'] })).toMatchObject({ version, source: 'release' });
    expect(statSync(join(cacheDir, 'nats-server')).mode & 0o777).toBe(0o755);
    expect(await resolveNatsServer({ ...options, sources: ['cache'] })).toMatchObject({ version, source: 'cache' });
    expect(lines).toHaveLength(1);
  });

  it('is refused when its checksum differs', async () => {
    const good = sums;
    sums = `${'0'.repeat(64)}  ${folder}.tar.gz\n`;
    const attempt = resolveNatsServer({ release: { baseUrl, version }, cacheDir: join(work, 'bad'), sources: ['release'] });
    await expect(attempt).rejects.toThrow(/does not have the checksum that its release states/);
    sums = good;
  });

  it('goes to the next folder when the first cache cannot be written', async () => {
    const readOnly = join(work, 'read-only');
    // A file where the folder should be: fails for root as well, whom permissions would not stop.
    writeFileSync(readOnly, '');
    chmodSync(readOnly, 0o400);
    const home = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(work, 'xdg');
    try {
      const found = await resolveNatsServer({ cacheDir: readOnly, release: { baseUrl, version }, sources: ['release'] });
      expect(found.path).toBe(join(work, 'xdg', 'jetlane', 'bin', 'nats-server'));
    } finally {
      if (home === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = home;
    }
  });

  it('has a name for every platform it is built for', () => {
    expect(releasePlatform('linux', 'x64')).toBe('linux-amd64');
    expect(releasePlatform('darwin', 'arm64')).toBe('darwin-arm64');
    expect(() => releasePlatform('aix', 'ppc64')).toThrow(/no official build/);
  });
});
