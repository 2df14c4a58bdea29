import { JetlaneAdmin } from '@jetlane/client';
import { type Connection, deathHeaders, ensureQueue, laneState } from '@jetlane/jetstream';
import type { HeaderPair, Lane, Topology } from '@jetlane/protocol';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { DeadLetterCommands } from '../../apps/resiliency/src/commands.js';
import { DeadLetters, type DeadLettersOptions } from '../../apps/resiliency/src/dead-letters.js';
import { Facts } from '../../apps/resiliency/src/facts.js';
import { Queues } from '../../apps/resiliency/src/queues.js';
import { Resiliency, type ResiliencyOptions } from '../../apps/resiliency/src/resiliency.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

export const NEVER = 3_600_000;

/** The state of the test that runs: a queue of its own, with a lease of one second. */
export let site: Installation;
export let connection: Connection;
export let queue = '';
const running: { stop(): Promise<void> | void }[] = [];
export const log = keepingLog();
let deadBefore = 0;

/** One installation for a spec file, a fresh queue for each of its tests. */
export function useResiliency(namespace: string, topology?: Topology): void {
  let count = 0;
  beforeAll(async () => {
    site = await Installation.open(namespace, {}, topology);
    connection = site.connection;
  });
  beforeEach(async () => {
    queue = `q${count++}`;
    await ensureQueue(connection, { name: queue, lease: '1s', maxDeliveries: 5 });
    deadBefore = (await state(connection.names.deadLetters)).last_seq;
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((part) => part.stop()));
    await (await connection.admin()).streams.purge(connection.names.advisories);
  });
  afterAll(() => site.close());
}

export async function startResiliency(options: Partial<ResiliencyOptions> = {}, link?: Connection): Promise<Resiliency> {
  const own = link ?? (await site.link());
  const resiliency = new Resiliency(own, { log, sweepMs: NEVER, queues: await startQueues(own), ...options });
  running.push(resiliency);
  await resiliency.start();
  return resiliency;
}

/** What one copy of the service does, asked without NATS: where it matters which copy it is. */
export async function startDeadLetters(options: Partial<DeadLettersOptions> = {}, link?: Connection): Promise<DeadLetters> {
  const own = link ?? (await site.link());
  const letters = new DeadLetters(own, { log, saveMs: 100, queues: await startQueues(own), ...options });
  running.push(letters);
  await letters.start();
  return letters;
}

/** One copy of the service. @returns its commands, as a caller over NATS has them */
export async function serveDeadLetters(options: Partial<DeadLettersOptions> = {}): Promise<JetlaneAdmin['deadLetters']> {
  const own = await site.link();
  const letters = new DeadLetters(own, { log, saveMs: 100, queues: await startQueues(own), ...options });
  const commands = new DeadLetterCommands(own, letters, new Facts(own, log));
  running.push(commands);
  await commands.start();
  // The caller is on another link: the server must know by then who listens.
  await own.flush();
  return new JetlaneAdmin(connection, 'ada').deadLetters;
}

async function startQueues(link: Connection): Promise<Queues> {
  const queues = new Queues(link);
  running.push(queues);
  await queues.start();
  return queues;
}

/** What a dead letter made by hand says. */
export interface LetterOptions {
  readonly queue?: string;
  readonly type?: string;
  readonly reason?: string;
  readonly lane?: Lane;
  readonly message?: string;
  readonly hop?: number;
  readonly source?: number;
  readonly body?: string | Uint8Array;
  readonly headers?: HeaderPair[];
}

/** A dead letter as workers write them. @returns its id */
export async function bury(key: string, options: LetterOptions = {}): Promise<string> {
  const { queue: name = queue, type = 'mail', reason = 'attempts-exhausted', lane = 'normal', hop = 1, source = 7 } = options;
  const error = { name: 'Error', message: options.message ?? 'no luck' };
  const stream = connection.names.lane(name, lane).stream;
  await site.store.publishDead(name, key, {
    headers: [['Task-Type', type], ['Task-Attempt', '5'], ...(options.headers ?? [])],
    data: options.body ?? `{"key":"${key}"}`,
    hop,
    extra: deathHeaders({ reason, error, at: Date.now(), source: { stream, sequence: source }, lane, type }),
  });
  return `${name}.${key}`;
}

export const keysOf = (count: number, name = 'k'): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`);

export const streamOf = (name: string) => connection.names.lane(name, 'normal').stream;
const state = async (stream: string) => (await (await connection.admin()).streams.info(stream)).state;

/** Hands tasks back until the server gives them up. @returns their sequences, in order */
export async function exhaust(name: string, keys: string[], headers: [string, string][] = [['Task-Type', 'mail']]): Promise<number[]> {
  const sequences: number[] = [];
  for (const key of keys) sequences.push((await site.enqueue(name, key, { headers, body: `{"key":"${key}"}` })).seq);
  let deliveries = 0;
  const stop = site.work(name, (delivery, ack) => {
    if (!keys.some((key) => delivery.subject.endsWith(`.${key}`))) return ack();
    deliveries++;
    connection.nak(delivery);
  });
  // The consumer learns of a stored message a moment after its PubAck, so nothing in hand alone does not mean given up.
  await eventually('the server gave them up', async () => {
    const found = await laneState(connection, name, 'normal');
    return deliveries === 5 * keys.length && found?.pending === 0 && found.ackPending === 0;
  });
  stop();
  return sequences;
}

/** Waits for the advisories and throws them away. */
export async function loseAdvisories(expected: number): Promise<void> {
  await eventually('the advisories are there', async () => (await site.messages(connection.names.advisories)) === expected);
  await (await connection.admin()).streams.purge(connection.names.advisories);
}

/** Stored dead letters since the test began: a second one on the same subject would count too. */
export const stored = async () => (await state(connection.names.deadLetters)).last_seq - deadBefore;
