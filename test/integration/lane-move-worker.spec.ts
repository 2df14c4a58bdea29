import { enforcePause, holdingLane, laneState, type MoveStep, moveLane, openPauses, provisionLane } from '@jetlane/jetstream';
import { LANES, type QueueDefinition, type Topology } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

const STEPS: MoveStep[] = ['side', 'held', 'sealed', 'copied', 'deleted', 'made', 'filled', 'open'];
const HOUR_MS = 3_600_000;
/** Slow enough that the lane is not empty when it is moved. */
const SLOW_MS = 20;
let site: Installation;
let worker: Worker | undefined;
let runs: Map<string, number>;
let slow: boolean;

const wanted = (name: string): QueueDefinition => ({ name, storage: 'memory' });
const state = (queue: string) => laneState(site.connection, queue, 'normal');
const enqueueAll = (queue: string, count: number) => Promise.all(Array.from({ length: count }, (_, i) => site.enqueue(queue, `k${i}`)));

async function startWorker(queue: string): Promise<void> {
  runs = new Map();
  slow = true;
  const noop = async (_: unknown, { id }: { readonly id: string }) => {
    runs.set(id, (runs.get(id) ?? 0) + 1);
    if (slow) await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  };
  worker = new Worker(await site.link(), { queue, concurrency: 2, handlers: { noop }, log: keepingLog() });
  await worker.start();
}

/** Moves the lane and ends the process after a step, as a crash would. */
async function endAfter(queue: string, last: MoveStep, atStep: (step: MoveStep) => void = () => undefined): Promise<void> {
  const onStep = (step: MoveStep) => {
    atStep(step);
    if (step === last) throw new Error('ended here');
  };
  expect(await rejection(moveLane(site.connection, wanted(queue), 'normal', { onStep }))).toMatchObject({ message: 'ended here' });
}

const begun = (topology: Topology): void => {
  beforeAll(async () => {
    site = await Installation.open('mover', {}, topology);
  });
  afterEach(async () => {
    await worker?.stop({ timeout: 0 });
    worker = undefined;
  });
  afterAll(() => site.close());
};

async function eachRunsOnce(queue: string, last: MoveStep): Promise<void> {
  await site.queue({ name: queue });
  await startWorker(queue);
  await enqueueAll(queue, 120);
  await endAfter(queue, last);
  // The worker asks the lane for tasks, if there is one to ask.
  await eventually('the worker is there again', async () => ((await state(queue))?.openPulls ?? 1) > 0);
  if (last !== 'side') expect((await state(queue))?.paused ?? true).toBe(true);
  await moveLane(site.connection, wanted(queue), 'normal');
  await provisionLane(site.connection, wanted(queue), 'normal');
  slow = false;
  await eventually('all have run', () => runs.size === 120);
  await eventually('all are settled', async () => (await site.depth(queue)) === 0);
  expect([...runs.values()].filter((count) => count !== 1)).toEqual([]);
}

describe('a lane that is moved while workers wait for its tasks', () => {
  begun('lanes');

  it.each(STEPS)('its mover ended after "%s": each task runs once', (last) => eachRunsOnce(`ended-${last}`, last));

  it.each([true, false])('paused by an operator (%s) or by hand: nothing runs, and it is paused as before', async (byEntry) => {
    await staysPaused(`paused-${byEntry}`, byEntry);
  });

  it('what an operator wants meanwhile counts when it is moved, and not before', async () => {
    const queue = 'steered';
    await site.queue({ name: queue });
    await pause(queue, true);
    await startWorker(queue);
    await enqueueAll(queue, 10);
    await endAfter(queue, 'copied');
    await (await openPauses(site.connection)).put(queue, { paused: false, at: Date.now() });
    // As every round of the queue manager does.
    expect(await enforcePause(site.connection, queue, ['normal'], true)).toEqual([]);
    const hold = holdingLane(site.connection, queue, 'normal', async () => undefined);
    expect(await rejection(hold)).toMatchObject({ code: 'request-timeout' });
    expect((await state(queue))?.paused).toBe(true);
    await moveLane(site.connection, wanted(queue), 'normal');
    expect((await state(queue))?.paused).toBe(false);
    await eventually('all have run', () => runs.size === 10);
  });
});

describe('a queue in one stream that is moved while workers wait for its tasks', () => {
  begun('compact');

  it('its mover ended after "filled": each task runs once', () => eachRunsOnce('ended', 'filled'));

  it('paused in all lanes: nothing runs', () => staysPaused('paused', true));
});

async function pause(queue: string, byEntry: boolean): Promise<number> {
  // The server keeps whole seconds.
  const until = Math.ceil((Date.now() + HOUR_MS) / 1000) * 1000;
  if (byEntry) {
    await (await openPauses(site.connection)).put(queue, { paused: true, at: Date.now(), until });
    await enforcePause(site.connection, queue);
    return until;
  }
  const { consumers } = await site.connection.admin();
  for (const lane of LANES) {
    const { stream, consumer } = site.connection.names.lane(queue, lane);
    await consumers.pause(stream, consumer, new Date(until));
  }
  return until;
}

async function staysPaused(queue: string, byEntry: boolean): Promise<void> {
  await site.queue({ name: queue });
  const until = await pause(queue, byEntry);
  await startWorker(queue);
  await enqueueAll(queue, 50);
  for (const storage of ['memory', 'file'] as const) await moveLane(site.connection, { name: queue, storage }, 'normal');
  await eventually('the worker is there again', async () => ((await state(queue))?.openPulls ?? 0) > 0);
  expect(await state(queue)).toMatchObject({ paused: true, pausedUntil: until, deliveredSequence: 0, pending: 50 });
  expect(runs.size).toBe(0);
}
