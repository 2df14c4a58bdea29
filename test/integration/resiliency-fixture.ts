import { type Connection, consumerState } from '@jetlane/jetstream';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { Resiliency, type ResiliencyOptions } from '../../apps/resiliency/src/resiliency.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

export const NEVER = 3_600_000;

/** The state of the test that runs: a queue of its own, with a lease of one second. */
export let site: Installation;
export let connection: Connection;
export let queue = '';
const running: Resiliency[] = [];
const log = keepingLog();
let deadBefore = 0;

/** One installation for a spec file, a fresh queue for each of its tests. */
export function useResiliency(namespace: string): void {
  let count = 0;
  beforeAll(async () => {
    site = await Installation.open(namespace);
    connection = site.connection;
  });
  beforeEach(async () => {
    queue = `q${count++}`;
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5 });
    deadBefore = (await state(connection.names.deadLetters)).last_seq;
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((resiliency) => resiliency.stop()));
    await (await connection.admin()).streams.purge(connection.names.advisories);
  });
  afterAll(() => site.close());
}

export async function startResiliency(options: Partial<ResiliencyOptions> = {}): Promise<Resiliency> {
  const resiliency = new Resiliency(await site.link(), { log, sweepMs: NEVER, ...options });
  running.push(resiliency);
  await resiliency.start();
  return resiliency;
}

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
    const found = await consumerState(connection, streamOf(name), connection.names.consumer);
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
