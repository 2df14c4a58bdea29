import {
  type Connection,
  connect,
  consumerState,
  type Delivery,
  MISSED_HEARTBEATS,
  type PullEnd,
  type Puller,
  type PullerOptions,
} from '@jetlane/jetstream';
import { startNatsCluster } from '@jetlane/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes, makeStream } from '../support/broker.js';
import { eventually, holdsFor } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

beforeAll(async () => {
  broker = await Broker.start('pull');
  connection = await broker.connect({ pingIntervalMs: 10_000 });
});
afterAll(() => broker.stop());

/** Streams that brought more than was asked for: what a listener throws would not reach the test. */
const unasked: string[] = [];
afterEach(() => {
  expect(unasked).toEqual([]);
});

/** A stream with one consumer, and a puller that checks at every delivery that no more came than was asked for. */
class Lane {
  readonly deliveries: Delivery[] = [];
  readonly ends: PullEnd[] = [];
  asked = 0;
  readonly puller: Puller;

  private constructor(
    readonly link: Connection,
    readonly name: string,
    options: Partial<PullerOptions>,
  ) {
    this.puller = link.puller({
      stream: name,
      consumer: 'c',
      onDelivery: (delivery) => {
        this.deliveries.push(delivery);
        if (this.deliveries.length > this.asked) unasked.push(name);
      },
      onEnd: (end) => this.ends.push(end),
      ...options,
    });
  }

  static async open(name: string, options: Partial<PullerOptions> = {}, link = connection, replicas = 1): Promise<Lane> {
    await makeStream(link, name, [`${name}.*`], { retention: 'workqueue', num_replicas: replicas });
    await (await link.admin()).consumers.add(name, { durable_name: 'c', ack_policy: 'explicit', max_waiting: 64 });
    const lane = new Lane(link, name, options);
    lane.puller.start(link.epoch);
    return lane;
  }

  async fill(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, (_, i) => this.link.publish(`${this.name}.${i}`, bytes(String(i)))));
  }

  pull(batch: number, mode: 'wait' | 'now' = 'wait'): boolean {
    const open = this.puller.pull(batch, mode);
    if (open) this.asked += batch;
    return open;
  }

  /** What was asked for and never came, because a pull ended. */
  get missing(): number {
    return this.asked - this.deliveries.length - this.puller.open;
  }

  delivered(count: number): Promise<void> {
    return eventually(`${count} deliveries of ${this.name}`, () => this.deliveries.length === count);
  }
}

describe('what is asked for', () => {
  it('is what comes: never more, in order, counted down as it arrives', async () => {
    const lane = await Lane.open('count');
    await lane.fill(200);
    expect([lane.pull(10), lane.pull(20), lane.pull(30), lane.pull(5)]).toEqual([true, true, true, false]);
    expect(lane.puller.open).toBe(60);
    await lane.delivered(60);
    expect(lane.puller.open).toBe(0);
    await holdsFor('nothing comes unasked', 200, () => lane.deliveries.length === 60);
    lane.pull(140);
    await lane.delivered(200);
    expect(lane.deliveries.map(({ streamSequence }) => streamSequence)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(lane.deliveries[0]).toMatchObject({ subject: 'count.0', count: 1, pending: 199, epoch: connection.epoch, headers: '' });
    expect(Math.abs(lane.deliveries[0]!.storedAt - Date.now())).toBeLessThan(60_000);
    lane.puller.stop();
  });

  it('mode now takes what is there and ends, or waits a moment for the first', async () => {
    const lane = await Lane.open('now');
    await lane.fill(5);
    lane.pull(100, 'now');
    await eventually('the pull ends', () => lane.ends.length === 1);
    expect([lane.deliveries.length, lane.puller.open, lane.ends[0]!.code]).toEqual([5, 0, 404]);
    lane.pull(100, 'now');
    await lane.fill(2);
    await eventually('the second pull ends', () => lane.ends.length === 2);
    expect(lane.deliveries.length).toBeGreaterThan(5);
    expect(lane.missing).toBe(200 - lane.deliveries.length);
    lane.puller.stop();
  });

  it('mode wait stays open until it expires, by the server’s clock', async () => {
    const lane = await Lane.open('expires', { expiresMs: 1000, heartbeatMs: 400 });
    const started = performance.now();
    lane.pull(3);
    await eventually('the pull expires', () => lane.ends.length === 1);
    expect(performance.now() - started).toBeGreaterThan(800);
    expect(lane.ends[0]!.code).toBe(408);
    expect(lane.puller.open).toBe(0);
    lane.puller.stop();
  });

  it('drain delivers what was under way, and nothing after it', async () => {
    const lane = await Lane.open('drain');
    await lane.fill(3000);
    lane.pull(3000);
    await eventually('deliveries flow', () => lane.deliveries.length > 0);
    await lane.puller.drain();
    const came = lane.deliveries.length;
    expect(lane.puller.open).toBe(0);
    expect((await consumerState(connection, 'drain', 'c'))?.ackPending).toBe(came);
    expect(lane.pull(1)).toBe(false);
    lane.puller.stop();
  });

  it('a listener that throws costs its delivery, not the link', async () => {
    const others = process.listeners('warning');
    process.removeAllListeners('warning');
    let calls = 0;
    const lane = await Lane.open('throws', {
      onDelivery: () => {
        if (++calls === 1) throw new Error('broken worker');
      },
    });
    await lane.fill(3);
    lane.pull(3);
    await eventually('the others are delivered', () => calls === 3);
    expect(connection.state).toBe('connected');
    lane.puller.stop();
    for (const other of others) process.on('warning', other);
  });
});

describe('pulls that end', () => {
  it('a missing and a deleted consumer say so', async () => {
    const lane = await Lane.open('deleted', { heartbeatMs: 500 });
    lane.pull(5);
    await connection.flush();
    const { consumers } = await connection.admin();
    await consumers.delete('deleted', 'c');
    await eventually('the pull ends', () => lane.ends.length === 1);
    expect(lane.ends[0]).toEqual({ code: 409, text: 'Consumer Deleted' });
    lane.pull(5);
    await eventually('the next one too', () => lane.ends.length === 2);
    expect(lane.ends[1]!.code).toBe(503);
    await consumers.add('deleted', { durable_name: 'c', ack_policy: 'explicit' });
    await lane.fill(5);
    lane.pull(5);
    await lane.delivered(5);
    lane.puller.stop();
  });

  it('slow but steady deliveries are signs of life', async () => {
    const lane = await Lane.open('trickle', { heartbeatMs: 300 });
    lane.pull(1000);
    let sent = 0;
    const timer = setInterval(() => void connection.publish('trickle.x', bytes(String(sent++))), 150);
    await eventually('twenty deliveries', () => lane.deliveries.length >= 20);
    clearInterval(timer);
    expect(lane.ends).toEqual([]);
    expect(lane.puller.open).toBe(1000 - lane.deliveries.length);
    lane.puller.stop();
  });

  it('a process that was busy for long does not blame the server', async () => {
    const lane = await Lane.open('busy', { heartbeatMs: 300 });
    lane.pull(10);
    await connection.flush();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
    await holdsFor('no pull ends', 700, () => lane.ends.length === 0);
    await lane.fill(1);
    await lane.delivered(1);
    expect(lane.puller.open).toBe(9);
    lane.puller.stop();
  });

  it('a server that falls silent ends them, and is not asked twice when it wakes', async () => {
    const lane = await Lane.open('silent', { heartbeatMs: 500 });
    await lane.fill(20);
    lane.pull(5);
    await lane.delivered(5);
    await (await connection.admin()).consumers.pause('silent', 'c', new Date(Date.now() + 60_000));
    lane.pull(6);
    await connection.flush();
    broker.server.kill('SIGSTOP');
    await eventually('heartbeats are missed', () => lane.ends.length === 1).finally(() => broker.server.kill('SIGCONT'));
    expect(lane.ends[0]!.code).toBe(MISSED_HEARTBEATS);
    expect(lane.puller.open).toBe(0);
    lane.pull(7);
    lane.asked -= 6;
    await (await connection.admin()).consumers.resume('silent', 'c');
    await lane.delivered(12);
    await holdsFor('the forgotten pull brings nothing', 300, () => lane.deliveries.length === 12);
    lane.puller.stop();
  });

  it('left open on a connection that was closed, it keeps quiet', async () => {
    const link = await broker.connect();
    const lane = await Lane.open('closed', { heartbeatMs: 100 }, link);
    lane.pull(5);
    await link.close();
    await holdsFor('nothing ends, nothing is thrown', 1500, () => lane.ends.length === 0);
  });

  it('after a restart of the server it goes on, on fresh inboxes', async () => {
    const own = await Broker.start('pull');
    const link = await own.connect();
    const lane = await Lane.open('restart', { heartbeatMs: 500 }, link);
    lane.pull(5);
    await link.flush();
    await own.crash();
    await eventually('link is up again', () => link.epoch === 2);
    lane.puller.start(link.epoch);
    expect(lane.puller.open).toBe(0);
    lane.asked = 0;
    lane.pull(3);
    await lane.fill(10);
    await lane.delivered(3);
    expect(new Set(lane.deliveries.map(({ epoch }) => epoch))).toEqual(new Set([2]));
    await own.stop();
  });

  it('a change of the consumer’s leader in a cluster ends the pull, and the next one is served', async () => {
    const cluster = await startNatsCluster();
    const link = await connect({ servers: cluster.url });
    try {
      const lane = await Lane.open('elect', {}, link, 3);
      lane.pull(5);
      await link.flush();
      await link.request('$JS.API.CONSUMER.LEADER.STEPDOWN.elect.c', '', 5000);
      await eventually('the pull ends', () => lane.ends.length > 0);
      // 409 from the old leader, or 503 when the next pull was quicker than the election.
      expect([409, 503]).toContain(lane.ends[0]!.code);
      lane.asked = 0;
      await eventually('the new leader serves a pull', async () => {
        if (lane.puller.open === 0) lane.asked += lane.puller.pull(5, 'wait') ? 5 : 0;
        if (lane.deliveries.length === 0) await lane.fill(1);
        return lane.deliveries.length > 0;
      });
    } finally {
      await link.close();
      await cluster.stop();
    }
  });
});
