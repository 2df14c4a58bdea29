import { JetlaneAdmin } from '@jetlane/client';
import { type Connection, laneState, openQueueBucket } from '@jetlane/jetstream';
import { LANES, type Lane, type QueueDefinition, type QueueJob, type QueuePreview, type Topology } from '@jetlane/protocol';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { Steering, type SteeringOptions } from '../../apps/queue-manager/src/steering/steering.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

export let site: Installation;
export let admin: JetlaneAdmin;
/** A queue of its own for each test. */
export let queue: string;
export const log = keepingLog();

const running: Steering[] = [];
let count = 0;

/** One installation for a file, with nobody who steers it; a fresh queue for each test. */
export function useSteering(namespace: string, topology?: Topology): void {
  beforeAll(async () => {
    site = await Installation.open(namespace, {}, topology);
    admin = new JetlaneAdmin(site.connection, 'tester');
  });
  beforeEach(async () => {
    queue = `q${++count}`;
    await define({ name: queue });
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((steering) => steering.stop()));
  });
  afterAll(() => site.close());
}

export async function define(definition: QueueDefinition): Promise<void> {
  await site.queue(definition);
  await (await openQueueBucket(site.connection)).put(definition.name, definition);
}

/** A copy of the part of the queue manager that steers. */
export async function startSteering(options: Partial<SteeringOptions> = {}, link?: Connection): Promise<Steering> {
  const steering = new Steering(link ?? (await site.link()), { log, saveMs: 200, roundMs: 200, ...options });
  running.push(steering);
  await steering.start();
  return steering;
}

/** A copy that was killed: its link is cut for good. */
export function forget(steering: Steering): void {
  running.splice(running.indexOf(steering), 1);
}

/** Waits for the end of a job. */
export async function ended(started: QueueJob | QueuePreview, timeoutMs = 20_000): Promise<QueueJob> {
  if (!('id' in started)) throw new Error('a preview is no job');
  let job = started;
  await eventually(
    `job ${job.kind} has ended`,
    async () => {
      job = await admin.jobs.get({ id: job.id });
      return job.state !== 'running';
    },
    timeoutMs,
  );
  return job;
}

export const keysOf = (howMany: number, prefix = 'k'): string[] => Array.from({ length: howMany }, (_, i) => `${prefix}${i}`);

export async function enqueueAll(
  keys: readonly string[],
  options: { queue?: string; lane?: Lane; type?: string; group?: string; body?: string } = {},
): Promise<void> {
  const { type = 'noop', group, lane = 'normal', body = '{}' } = options;
  const headers: [string, string][] = [
    ['Task-Type', type],
    ['Task-Created-At', '1700000000000'],
  ];
  if (group !== undefined) headers.push(['Task-Group', group]);
  for (const key of keys) await site.enqueue(options.queue ?? queue, key, { lane, body, headers });
}

/** Takes tasks out of a lane and keeps them in hand. @returns the way to let go of them: `true` settles them */
export async function hold(howMany: number, lane: Lane = 'normal'): Promise<(settle: boolean) => Promise<void>> {
  const { stream, consumer } = site.connection.names.lane(queue, lane);
  const acks: (() => void)[] = [];
  const puller = site.connection.puller({
    stream,
    consumer,
    onDelivery: (delivery) => void acks.push(() => void site.connection.ack(delivery)),
    onEnd: () => undefined,
  });
  puller.start(site.connection.epoch);
  puller.pull(howMany, 'wait');
  await eventually('in hand', () => acks.length === howMany);
  return async (settle) => {
    puller.stop();
    if (settle) for (const ack of acks) ack();
  };
}

/** Lanes of a queue whose consumers are paused. */
export async function pausedLanes(of = queue): Promise<Lane[]> {
  const states = await Promise.all(LANES.map((lane) => laneState(site.connection, of, lane)));
  return LANES.filter((_, i) => states[i]?.paused);
}

export const statesOf = (keys: readonly string[], of = queue): Promise<(string | undefined)[]> =>
  Promise.all(keys.map(async (key) => (await site.store.record(of, key)).record?.state));

/** Starts a job on a copy whose link is cut at a step, with a survivor beside it that finishes the job. */
export async function cutAt(when: 'before' | 'after', subject: RegExp, begin: () => Promise<{ id: string }>) {
  const proxy = await LinkProxy.open(site.server.url);
  const cut = proxy.cutAt({ when, subject, nth: 23 });
  const link = await site.link(proxy.url);
  const dying = await startSteering({}, link);
  const job = await begin();
  await cut;
  forget(dying);
  await startSteering({ takeOverMs: 1000 });
  const done = await ended(job as Parameters<typeof ended>[0], 30_000);
  await proxy.close();
  return done;
}
