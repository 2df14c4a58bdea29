import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { freePort, freePorts } from '../process/ports.js';
import { pidExists } from '../process/run-record.js';
import { waitUntil } from '../process/wait-until.js';
import type { PlatformEvent } from './events.js';
import type { PlatformOptions } from './options.js';
import { type Platform, startPlatform } from './platform.js';
import { formatEvent, formatTable } from './report.js';
import { RestartDelay } from './restart-delay.js';
import { SERVICES, type ServiceSpec } from './services.js';

const root = mkdtempSync(join(tmpdir(), 'jetlane-platform-spec-'));
// The database runs elsewhere in these tests: it has tests of its own, and takes a second to create.
const DATABASE_URL = 'postgres://someone:secret@127.0.0.1:1/somewhere';
const running: Platform[] = [];

afterEach(() => Promise.all(running.splice(0).map((platform) => platform.stop())));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A program that is ready at once and answers every request with its own environment. `setting` runs first. */
function fakeService(name: string, setting = '', first = false): ServiceSpec {
  const entry = `apps/${name}/dist/main.mjs`;
  const portEnv = `${name.toUpperCase()}_PORT`;
  mkdirSync(dirname(join(root, entry)), { recursive: true });
  writeFileSync(
    join(root, entry),
    `import { createServer } from 'node:http';
     ${setting}
     const server = createServer((request, response) => response.end(JSON.stringify(process.env)));
     server.listen(process.env.${portEnv}, '127.0.0.1', () => console.log('${name} listens'));
     process.on('SIGTERM', () => { console.log('${name} stops'); process.exit(0); });`,
  );
  return { name, portEnv, defaultPort: 0, entry, first };
}

async function start(options: PlatformOptions): Promise<{ platform: Platform; events: PlatformEvent[] }> {
  const events: PlatformEvent[] = [];
  const dataDir = options.dataDir ?? mkdtempSync(join(root, 'data-'));
  const env = { DATABASE_URL, NATS_URL: '', JETLANE_DATA_DIR: '', ...options.env };
  const platform = await startPlatform({ ports: 'random', root, ...options, dataDir, env, onEvent: (event) => events.push(event) });
  running.push(platform);
  return { platform, events };
}

describe('startPlatform', () => {
  it('gives every process its port, the servers and the namespace', async () => {
    const services = [fakeService('beta'), fakeService('alpha', '', true)];
    const { platform, events } = await start({ services, replicas: { beta: 2 }, namespace: 'trial' });
    expect([...platform.services.keys()]).toEqual(['beta', 'beta-2', 'alpha']);
    const order = events.flatMap((event) => (event.type === 'service:ready' ? [event.name] : []));
    expect(order[0]).toBe('alpha');
    const seen = await (await fetch(platform.services.get('beta-2')?.url ?? '')).json();
    expect(seen).toMatchObject({ NATS_URL: platform.urls.nats, DATABASE_URL, JETLANE_NAMESPACE: 'trial', LOG_FORMAT: 'json' });
  });

  it('starts a killed service again within two seconds', async () => {
    const { platform, events } = await start({ services: [fakeService('gamma')] });
    const gamma = platform.services.get('gamma');
    const pid = gamma?.pid;
    gamma?.kill('SIGKILL');
    expect(await waitUntil(() => gamma?.restarts === 1)).toBe(true);
    expect(gamma?.pid).not.toBe(pid);
    const death = events.find((event) => event.type === 'service:exited');
    expect(death).toMatchObject({ name: 'gamma', how: 'signal SIGKILL' });
    expect(death?.restartInMs).toBeLessThan(1_000);
  });

  it('starts a killed nats-server again, on the same port', async () => {
    const { platform, events } = await start({ services: [] });
    const pid = platform.nats?.pid;
    platform.nats?.kill('SIGKILL');
    expect(await waitUntil(() => ![undefined, pid].includes(platform.nats?.pid))).toBe(true);
    const ready = () => events.filter((event) => event.type === 'nats:ready');
    expect(await waitUntil(() => ready().length === 2)).toBe(true);
    expect(ready().map((event) => event.restarts)).toEqual([0, 1]);
    expect(formatEvent(ready()[1] as PlatformEvent)).toMatch(/nats-server +ready .*again/);
  });

  it('leaves a service alone that was stopped on purpose', async () => {
    const { platform, events } = await start({ services: [fakeService('delta')] });
    const delta = platform.services.get('delta');
    await delta?.stop();
    expect(delta?.pid).toBeUndefined();
    await delta?.start();
    expect(await delta?.isReady()).toBe(true);
    expect(events.filter((event) => event.type === 'service:exited')).toEqual([]);
  });

  it('stops services before the servers they need, and leaves no process', async () => {
    const { platform } = await start({ services: [fakeService('epsilon')] });
    const pids = [platform.services.get('epsilon')?.pid, platform.nats?.pid] as number[];
    const log = platform.services.get('epsilon')?.logFile ?? '';
    await Promise.all([platform.stop(), platform.stop()]);
    expect(pids.map(pidExists)).toEqual([false, false]);
    expect(readFileSync(log, 'utf8')).toBe('epsilon listens\nepsilon stops\n');
  });

  it('shows the last lines of a service that cannot start, and stops the rest', async () => {
    const dataDir = join(root, 'broken');
    const services = [fakeService('zeta'), fakeService('eta', "console.error('no such table'); process.exit(3);")];
    const attempt = start({ services, dataDir });
    await expect(attempt).rejects.toMatchObject({
      code: 'start-failed',
      message: expect.stringMatching(/eta did not start \(exit code 3\)(.|\n)*no such table/),
    });
    const again = await start({ services: [fakeService('zeta')], dataDir });
    expect(again.platform.services.get('zeta')?.pid).toBeDefined();
  });

  it('names a taken port and the variable that changes it', async () => {
    const port = await freePort();
    const blocker = createServer().listen(port, '127.0.0.1');
    const natsPort = String(await freePort());
    const attempt = start({ services: [fakeService('theta')], ports: 'default', env: { THETA_PORT: String(port), NATS_PORT: natsPort } });
    await expect(attempt).rejects.toMatchObject({
      code: 'port-taken',
      message: expect.stringMatching(`Port ${port} \\(theta\\) is taken by pid ${process.pid} .* THETA_PORT=<port>`),
    });
    blocker.close();
  });

  it('lists several taken ports line by line', async () => {
    const [port, natsPort] = await freePorts(2);
    const blockers = [port, natsPort].map((taken) => createServer().listen(taken, '127.0.0.1'));
    const env = { KAPPA_PORT: String(port), NATS_PORT: String(natsPort) };
    const error = await start({ services: [fakeService('kappa')], ports: 'default', env }).catch((thrown: Error) => thrown);
    for (const blocker of blockers) blocker.close();
    const lines = (error as Error).message.split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[1]).toMatch(new RegExp(`^ {2}${port} \\(kappa\\) by pid ${process.pid} .*: KAPPA_PORT=<port>$`));
  });

  it.runIf(process.platform === 'linux')('names the other Jetlane that has the ports', async () => {
    const dataDir = mkdtempSync(join(root, 'other-'));
    const { platform } = await start({ services: [fakeService('lambda')], dataDir });
    const port = platform.services.get('lambda')?.port;
    const env = { LAMBDA_PORT: String(port), NATS_PORT: new URL(platform.urls.nats).port };
    const attempt = start({ services: [fakeService('lambda')], ports: 'default', env });
    await expect(attempt).rejects.toMatchObject({
      code: 'port-taken',
      message: expect.stringMatching(`^Another Jetlane, pid ${process.pid} with its data in ${dataDir}, has these ports`),
    });
  });

  it.each(['abc', '0', '65536', '30.5'])('refuses %s as a port in one sentence', async (given) => {
    const attempt = start({ services: [fakeService('mu')], ports: 'default', env: { MU_PORT: given } });
    await expect(attempt).rejects.toMatchObject({
      name: 'LaunchError',
      code: 'invalid-port',
      message: `MU_PORT is "${given}", but must be a port number from 1 to 65535.`,
    });
  });

  it('runs once per data folder', async () => {
    const dataDir = join(root, 'shared');
    await start({ services: [], dataDir });
    await expect(start({ services: [], dataDir })).rejects.toMatchObject({ code: 'already-running' });
  });

  it('says so when the data folder cannot be written', async () => {
    const file = join(root, 'a-file');
    writeFileSync(file, '');
    await expect(start({ services: [], dataDir: join(file, 'data') })).rejects.toMatchObject({ code: 'data-dir-not-writable' });
  });

  it('says so when a service was not built', async () => {
    const missing = { ...fakeService('iota'), entry: 'apps/iota/dist/nothing.js' };
    await expect(start({ services: [missing] })).rejects.toMatchObject({ code: 'not-built' });
  });
});

describe('what a person sees', () => {
  it('is a table without secrets', async () => {
    const { platform } = await start({ services: [fakeService('gateway')] });
    const table = formatTable(platform);
    expect(table).toContain(`${platform.urls.gateway}/docs`);
    expect(table).not.toContain('secret');
  });

  it('is silent about the reason of a first death, and tells it once in a crash loop', () => {
    const death = { type: 'service:exited', name: 'x', how: 'exit code 1', logFile: '/x.log', lines: ['boom'] } as const;
    expect(formatEvent({ ...death, restartInMs: 100 })).not.toContain('boom');
    expect(formatEvent({ ...death, restartInMs: 400 })).toContain('boom');
    expect(formatEvent({ ...death, restartInMs: 800 })).not.toContain('boom');
  });
});

describe('RestartDelay', () => {
  it('doubles with every early death, to a limit, and forgets after a good run', () => {
    const delay = new RestartDelay();
    const delays = Array.from({ length: 12 }, () => delay.next(0));
    expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(Math.max(...delays)).toBe(30_000);
    expect(delay.next(60_000)).toBe(100);
  });
});

describe('SERVICES', () => {
  it('has one port and one variable per service', () => {
    expect(SERVICES.map(({ portEnv, defaultPort }) => `${portEnv}=${defaultPort}`)).toEqual([
      'GATEWAY_PORT=3000',
      'QUEUE_MANAGER_PORT=3001',
      'SCHEDULER_PORT=3002',
      'RESILIENCY_PORT=3003',
      'ANALYTICS_PORT=3004',
      'WORKER_PORT=3005',
    ]);
  });
});
