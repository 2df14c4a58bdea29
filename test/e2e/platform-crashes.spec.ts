import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/wait-until.js';
import { PATIENCE, quick, SERVICE_NAMES, Site } from './platform-fixture.js';

const DEMO = fileURLToPath(new URL('../../scripts/demo.mjs', import.meta.url));
const RESTART_MS = 2000;
let site: Site;

beforeAll(async () => {
  // Few slots make the demo last long enough to be interrupted; the short lease makes what the dead worker held come back soon.
  site = await Site.start({ embeddedNats: true, queues: [quick('default'), quick('high_priority')], env: { WORKER_CONCURRENCY: '3' } });
});
afterAll(() => site?.stop());

/** Kills a part and waits for its next process. @returns how long there was none */
async function kill(part: { pid: number | undefined; exited: Promise<unknown>; kill(signal: NodeJS.Signals): void }): Promise<number> {
  const { pid, exited } = part;
  part.kill('SIGKILL');
  await exited;
  const before = performance.now();
  await eventually('it has a new process', () => part.pid !== undefined && part.pid !== pid, { timeoutMs: 20_000, everyMs: 5 });
  return performance.now() - before;
}

describe('a process that dies', () => {
  it('every service, and all of them at once: started again within two seconds, and ready', async () => {
    const gaps = await Promise.all(SERVICE_NAMES.map((name) => kill(site.service(name))));
    for (const [i, name] of SERVICE_NAMES.entries()) {
      const service = site.service(name);
      expect(gaps[i], name).toBeLessThan(RESTART_MS);
      await eventually(`${name} is ready`, () => service.isReady(), PATIENCE);
      await eventually(`the launcher counts ${name}`, () => service.restarts === 1, PATIENCE);
      const exits = site.events.filter((event) => event.type === 'service:exited' && event.name === name);
      expect(exits).toEqual([expect.objectContaining({ how: expect.stringContaining('SIGKILL') })]);
    }
    await site.expectWork();
  });

  it.each(['nats', 'postgres'] as const)('%s is started again within two seconds, and no service dies of it', async (name) => {
    const before = site.lives();
    expect(await kill(site.platform[name]!)).toBeLessThan(RESTART_MS);
    for (const service of SERVICE_NAMES) await eventually(`${service} is ready`, () => site.service(service).isReady(), PATIENCE);
    await site.expectWork();
    expect(site.lives()).toEqual(before);
  });
});

describe('the demo, in small', () => {
  const TASKS = 1500;
  const dir = mkdtempSync(join(tmpdir(), 'jetlane-demo-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** Runs the demo as a user does. */
  function demo(): { output: () => string; ended: Promise<number | null> } {
    const args = ['--tasks', String(TASKS), '--users', '50', '--batch', '250', '--stall', '90'];
    const child = spawn(process.execPath, [DEMO, ...args, '--url', site.platform.urls.gateway, '--csv', join(dir, 'purchases.csv')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
      });
    }
    return { output: () => output, ended: new Promise((resolve) => child.once('exit', resolve)) };
  }

  async function purchases(): Promise<number> {
    const { count } = await site.database
      .selectFrom('purchases')
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  it('ends with all balances right though the worker host is killed in the middle', async () => {
    const worker = site.service('worker');
    const { pid } = worker;
    const run = demo();
    await eventually('some purchases are done', async () => (await purchases()) >= 100, { timeoutMs: 60_000, everyMs: 2 });
    worker.kill('SIGKILL');
    await eventually('it is dead', () => worker.pid !== pid, { timeoutMs: 10_000, everyMs: 1 });
    expect(await purchases(), 'the worker host was killed too late').toBeLessThan(TASKS);
    expect(await run.ended, run.output()).toBe(0);
    expect(run.output()).toContain('RIGHT: all 50 balances equal the sums of their purchases');
    expect(await purchases()).toBe(TASKS);
    const dead = site.connection.names.deadLetters;
    expect((await (await site.connection.admin()).streams.info(dead)).state.messages).toBe(0);
  });
});
