import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../process/ports.js';
import { pidExists } from '../process/run-record.js';
import { checkNatsUrl, readServerInfo } from './probe.js';
import { type NatsServer, type NatsServerOptions, startNatsServer } from './server.js';

const started: NatsServer[] = [];
async function start(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = await startNatsServer(options);
  started.push(server);
  return server;
}

// Finding (perhaps fetching) the binary is not what is timed below.
beforeAll(async () => (await startNatsServer()).stop(), 180_000);
afterEach(() => Promise.all(started.splice(0).map((server) => server.stop())));

describe('startNatsServer', () => {
  it('runs a throw-away server with JetStream, and leaves nothing behind', async () => {
    const server = await start();
    expect(await readServerInfo('127.0.0.1', server.port)).toMatchObject({ jetstream: true });
    expect(readFileSync(join(server.storeDir, 'nats-server.conf'), 'utf8')).toContain('sync_interval: 100ms');
    const pid = server.pid as number;
    await server.stop();
    await server.stop();
    expect(pidExists(pid)).toBe(false);
    expect(server.pid).toBeUndefined();
    expect(existsSync(server.storeDir)).toBe(false);
  });

  it('comes back on the same port with the same data after a kill', async () => {
    const storeDir = mkdtempSync(join(tmpdir(), 'jetlane-spec-'));
    try {
      const server = await start({ storeDir: relative(process.cwd(), storeDir), monitorPort: 0 });
      expect(server.storeDir).toBe(storeDir);
      const pid = server.pid;
      server.kill('SIGKILL');
      expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' });
      await server.start();
      expect(server.pid).not.toBe(pid);
      expect((await fetch(`${server.monitorUrl}/healthz`)).status).toBe(200);
      await server.stop();
      expect(existsSync(storeDir)).toBe(true);
    } finally {
      rmSync(storeDir, { recursive: true, force: true });
    }
  });

  it('says whose port is taken, and how to change it', async () => {
    const port = await freePort();
    const blocker = createServer().listen(port, '127.0.0.1');
    try {
      const error = await start({ port }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'port-taken' });
      expect((error as Error).message).toContain(`Port ${port} (nats-server) is taken by pid ${process.pid}`);
      expect((error as Error).message).toContain('NATS_PORT=<port>');
    } finally {
      blocker.close();
    }
  });

  it('does not start twice on the same data', async () => {
    const storeDir = mkdtempSync(join(tmpdir(), 'jetlane-spec-'));
    const server = await start({ storeDir });
    await expect(start({ storeDir })).rejects.toMatchObject({
      code: 'already-running',
      details: { pid: server.pid, ownerPid: process.pid },
    });
    await server.stop();
    rmSync(storeDir, { recursive: true, force: true });
  });

  it('shows what the server said when its configuration is wrong', async () => {
    await expect(start({ extra: 'no_such_setting: 1' })).rejects.toThrow(/exit code 1\): .*no_such_setting/);
  });
});

describe('checkNatsUrl', () => {
  it('accepts a server that is good enough, also as the second of a list', async () => {
    const server = await start();
    await expect(checkNatsUrl(`nats://127.0.0.1:${await freePort()}, ${server.url}`)).resolves.toMatchObject({ jetstream: true });
  });

  it('never shows a password', async () => {
    const error = await checkNatsUrl(`nats://me:secret@127.0.0.1:${await freePort()}`).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'nats-unreachable' });
    expect((error as Error).message).not.toContain('secret');
  });

  it('refuses an old server and one without JetStream', async () => {
    const greet = (info: object) => createServer((socket) => socket.end(`INFO ${JSON.stringify(info)}\r\n`));
    const [old, bare] = [greet({ version: '2.10.1', jetstream: true }), greet({ version: '2.15.0' })];
    const [oldPort, barePort] = [await freePort(), await freePort()];
    old.listen(oldPort, '127.0.0.1');
    bare.listen(barePort, '127.0.0.1');
    await expect(checkNatsUrl(`nats://127.0.0.1:${oldPort}`)).rejects.toMatchObject({ code: 'nats-server-too-old' });
    await expect(checkNatsUrl(`127.0.0.1:${barePort}`)).rejects.toMatchObject({ code: 'jetstream-disabled' });
    old.close();
    bare.close();
  });
});
