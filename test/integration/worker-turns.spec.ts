import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Connection, type Delivery } from '@jetlane/jetstream';
import type { WorkerOptions } from '@jetlane/worker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

// How much the worker puts between what the socket brings and the handler, counted in turns of the event loop and not in time: a slow
// machine makes turns longer, and not more of them.

let site: WorkerSite;
let turns: Turns;
beforeAll(async () => {
  site = await WorkerSite.open('worker-turns');
});
afterAll(() => site.close());
beforeEach(() => {
  turns = new Turns();
});
afterEach(() => turns.end());

/**
 * Counts turns: an immediate that asks for the next one runs once in each. Sees what sockets bring where Node hands it over, before
 * any of our code, and notes in which turn the last byte of a task's mark came.
 */
class Turns {
  now = 0;
  readonly readIn = new Map<number, number>();
  readonly startedIn = new Map<number, number>();
  private counting = true;
  private readonly tails = new WeakMap<Socket, string>();
  private readonly push = Socket.prototype.push;

  constructor() {
    const { push } = this;
    const see = (socket: Socket, chunk: unknown) => this.see(socket, chunk);
    Socket.prototype.push = function (this: Socket, chunk: unknown, encoding?: BufferEncoding) {
      see(this, chunk);
      return push.call(this, chunk, encoding);
    };
    this.count();
  }

  /** The handler of a task has begun. */
  start(n: number): void {
    this.startedIn.set(n, this.now);
  }

  /** Turns between reading and start, of every task that was started. */
  between(): number[] {
    return [...this.startedIn].map(([n, started]) => started - this.readIn.get(n)!);
  }

  end(): void {
    this.counting = false;
    Socket.prototype.push = this.push;
  }

  private count(): void {
    this.now++;
    if (this.counting) setImmediate(() => this.count());
  }

  private see(socket: Socket, chunk: unknown): void {
    if (!(chunk instanceof Uint8Array)) return;
    // A mark may come in two parts.
    const text = (this.tails.get(socket) ?? '') + Buffer.from(chunk).toString('latin1');
    for (const [, n] of text.matchAll(/"mark (\d+)!"/g)) this.readIn.set(Number(n), this.now);
    this.tails.set(socket, text.slice(-10));
  }
}

const markOf = (text: string): number => Number(/^mark (\d+)!$/.exec(text)![1]);

/** A worker that notes in which turn each of its handlers begins. */
async function worker(queue: string, options: Partial<WorkerOptions>, connection?: Connection): Promise<void> {
  const handle = async (data: string) => {
    turns.start(markOf(data));
    await nextTurn();
  };
  await site.worker({ queue, handlers: { t: handle }, ...options }, connection);
}

const enqueue = (queue: string, n: number): Promise<void> => site.task(queue, `k${n}`, 't', `mark ${n}!`);

const allStarted = (count: number) => eventually(`${count} tasks have begun`, () => turns.startedIn.size === count, 20_000);

describe('between pull and handler', () => {
  it('there is one turn of the event loop at most, for a task that finds an idle worker', async () => {
    const queue = site.queueName();
    await worker(queue, { concurrency: 10 });
    for (let n = 0; n < 100; n++) {
      await enqueue(queue, n);
      await allStarted(n + 1);
    }
    expect(turns.between()).toHaveLength(100);
    expect(Math.max(...turns.between())).toBeLessThanOrEqual(1);
    expect(Math.min(...turns.between())).toBeGreaterThanOrEqual(0);
  });

  it('and for a backlog that comes in large pieces', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    await Promise.all(Array.from({ length: 500 }, (_, n) => enqueue(queue, n)));
    await worker(queue, { concurrency: 1000 });
    await allStarted(500);
    expect(Math.max(...turns.between())).toBeLessThanOrEqual(1);
    expect(Math.min(...turns.between())).toBeGreaterThanOrEqual(0);
  });

  it('a worker that lets a delivery wait for two turns is found out', async () => {
    const queue = site.queueName();
    const slow = await site.installation.link();
    const puller = slow.puller.bind(slow);
    slow.puller = (options) => {
      const later = (delivery: Delivery) =>
        void nextTurn()
          .then(() => nextTurn())
          .then(() => options.onDelivery(delivery));
      return puller({ ...options, onDelivery: later });
    };
    await worker(queue, { concurrency: 10 }, slow);
    await enqueue(queue, 1);
    await allStarted(1);
    expect(turns.between()[0]).toBeGreaterThanOrEqual(2);
  });
});
