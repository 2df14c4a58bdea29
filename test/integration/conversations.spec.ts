import { TaskClient } from '@jetlane/client';
import { ensureQueue } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readWorkerConfig, workerRules } from '../../apps/worker/src/config.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

const DATABASE_URL = 'postgres://nobody@127.0.0.1:1/none';
const CONVERSATIONS = 150;
const TURNS = 4;
/** How long a turn may wait to begin, in ms: a warning, and critical. */
const SLA = { warning: 10_000, critical: 30_000 };

interface Turn {
  readonly conversation: string;
  readonly turn: number;
}
interface Run extends Turn {
  readonly at: number;
}

let site: WorkerSite;
let client: TaskClient;
beforeAll(async () => {
  site = await WorkerSite.open('talk');
  // A turn that comes to the wrong worker goes back by a timer.
  await site.schedule();
  client = new TaskClient(await site.installation.link());
});
afterAll(async () => {
  await client.close();
  await site.close();
});

/** What the worker host makes of an environment. */
const rules = (env: Record<string, string> = {}) => workerRules(readWorkerConfig({ DATABASE_URL, ...env }));

/** A handler that notes each run, and what was wrong while it ran: two turns of one conversation at once, an earlier one after a later. */
function listener(ms: number) {
  const runs: Run[] = [];
  const faults: string[] = [];
  const speaking = new Set<string>();
  let most = 0;
  const handle = async ({ conversation, turn }: Turn) => {
    if (speaking.has(conversation)) faults.push(`${conversation} speaks twice at once`);
    speaking.add(conversation);
    most = Math.max(most, speaking.size);
    const said = runs.filter((run) => run.conversation === conversation).length;
    if (said !== turn) faults.push(`${conversation}: turn ${turn} came as number ${said}`);
    runs.push({ conversation, turn, at: performance.now() });
    await new Promise((resolve) => setTimeout(resolve, ms));
    speaking.delete(conversation);
    return turn;
  };
  /** Most runs at once since the last time it was asked. */
  const peak = () => {
    const found = most;
    most = speaking.size;
    return found;
  };
  return { runs, faults, handle, peak };
}

describe('150 conversations at once', () => {
  it('run in order within each, no turn twice, and every one begins within the SLA', async () => {
    const queue = 'talk';
    const { runs, faults, handle } = listener(20);
    const definition = { workers: 2, limits: { group: { concurrency: 1 } } };
    await ensureQueue(site.connection, { name: queue, ...definition, sla: SLA });
    for (let i = 0; i < 2; i++) await site.worker({ queue, handlers: { say: handle as never }, ...rules() });
    const waits: number[] = [];
    const converse = async (conversation: string) => {
      for (let turn = 0; turn < TURNS; turn++) {
        const began = performance.now();
        const { id } = await client.enqueue(queue, { type: 'say', data: { conversation, turn }, group: conversation });
        const { state, result } = await client.result(id, { timeout: SLA.critical });
        expect({ state, result }).toEqual({ state: 'completed', result: turn });
        waits.push(performance.now() - began);
      }
    };
    await Promise.all(Array.from({ length: CONVERSATIONS }, (_, i) => converse(`c${i}`)));
    expect(faults).toEqual([]);
    expect(runs.length).toBe(CONVERSATIONS * TURNS);
    expect(Math.max(...waits)).toBeLessThan(SLA.critical);
    waits.sort((a, b) => a - b);
    expect(waits[Math.floor(waits.length * 0.95)]).toBeLessThan(SLA.warning);
  }, 60_000);
});

describe('the switch back to conservative settings, and forth again', () => {
  it('loses nothing, runs nothing twice, and is obeyed: 3 at once and 10 a second', async () => {
    const queue = 'switch';
    const { runs, faults, handle, peak } = listener(20);
    await ensureQueue(site.connection, { name: queue, workers: 1, concurrency: 20, limits: { rate: { count: 200 } } });
    const host = (env: Record<string, string>) => site.worker({ queue, handlers: { say: handle as never }, ...rules(env) });
    const before = await host({ QUEUE_OPTIMIZATION_ENABLED: 'true' });
    expect(before.health().slots).toBe(20);
    const enqueue = async (from: number, to: number) => {
      for (let i = from; i < to; i++) await client.enqueue(queue, { type: 'say', data: { conversation: `s${i}`, turn: 0 } });
    };
    await enqueue(0, 100);
    await eventually('the fast settings work', () => runs.length > 20);
    await before.stop();
    expect(peak()).toBeLessThanOrEqual(20);

    const careful = await host({ QUEUE_OPTIMIZATION_ENABLED: 'false' });
    expect(careful.health().slots).toBe(3);
    const since = runs.length;
    await enqueue(100, 200);
    await eventually('the careful settings work', () => runs.length >= since + 15);
    const calm = runs.slice(since + 1, since + 15);
    const seconds = (calm.at(-1)!.at - calm[0]!.at) / 1000;
    // At most what the rate gives, and a quarter of a second's worth that was saved up.
    expect(calm.length - 1).toBeLessThanOrEqual(10 * seconds + 3);
    await careful.stop();
    expect(peak()).toBeLessThanOrEqual(3);

    const after = await host({});
    expect(after.health().slots).toBe(20);
    await eventually('all have run', () => runs.length >= 200);
    await after.stop();
    expect(new Set(runs.map(({ conversation }) => conversation)).size).toBe(200);
    expect(runs.length).toBe(200);
    expect(faults).toEqual([]);
    expect(peak()).toBeLessThanOrEqual(20);
    expect(await site.installation.depth(queue)).toBe(0);
    expect(await site.installation.messages(site.connection.names.deadLetters)).toBe(0);
  }, 60_000);
});
