import { connect, provisionQueue } from '@jetlane/jetstream';
import type { TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('broker');
});
afterAll(() => site.close());

/** Confirmed enqueues at a steady pace, and what became of them. */
class Load {
  readonly accepted = new Set<string>();
  readonly runs = new Map<string, number>();
  lastRun = 0;
  private going = true;
  private readonly done: Promise<void>;

  constructor(
    readonly queue: string,
    pauseMs = 5,
  ) {
    this.done = this.pour(pauseMs);
  }

  readonly handle = (_: unknown, { key }: TaskContext): void => {
    this.runs.set(key, (this.runs.get(key) ?? 0) + 1);
    this.lastRun = performance.now();
  };

  get lost(): string[] {
    return [...this.accepted].filter((key) => !this.runs.has(key));
  }

  get repeated(): number {
    return [...this.runs.values()].filter((times) => times > 1).length;
  }

  /** Waits until tasks that come after now are worked off; returns how long that took. */
  async works(what: string, timeoutMs: number): Promise<number> {
    const began = performance.now();
    const before = this.runs.size;
    await eventually(what, () => this.runs.size > before + 20 && this.lastRun > began, timeoutMs);
    return performance.now() - began;
  }

  async end(): Promise<void> {
    this.going = false;
    await this.done;
    await eventually('all that was accepted has run', () => this.lost.length === 0, 20_000);
  }

  private async pour(pauseMs: number): Promise<void> {
    for (let i = 0; this.going; i += 5) {
      const keys = Array.from({ length: 5 }, (_, j) => `k${i + j}`);
      await Promise.all(keys.map((key) => this.enqueue(key)));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  private async enqueue(key: string): Promise<void> {
    try {
      await site.installation.enqueue(this.queue, key);
      this.accepted.add(key);
    } catch {
      // Not accepted, so nothing is owed.
    }
  }
}

describe('a worker under load', () => {
  it('goes on when its consumer is deleted', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    const load = new Load(queue);
    await site.worker({ queue, handlers: { noop: load.handle } });
    await load.works('it works', 5000);
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    await (await site.connection.admin()).consumers.delete(stream, consumer);
    expect(await load.works('it works again', 5000)).toBeLessThan(5000);
    await load.end();
    await site.drained(queue);
    expect(load.repeated).toBeLessThan(20);
  });

  it('goes on when a stream is deleted, with what is enqueued from then on', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    const load = new Load(queue);
    await site.worker({ queue, handlers: { noop: load.handle } });
    await load.works('it works', 5000);
    await (await site.connection.admin()).streams.delete(site.connection.names.lane(queue, 'normal').stream);
    const before = new Set(load.accepted);
    expect(await load.works('it works again', 5000)).toBeLessThan(5000);
    for (const key of before) load.accepted.delete(key);
    await load.end();
  });

  it('goes on when all lanes are deleted at once', async () => {
    const queue = site.queueName();
    const ran: string[] = [];
    await site.worker({ queue, handlers: { noop: (_: unknown, { key }: TaskContext) => void ran.push(key) } });
    const lanes = (['critical', 'high', 'normal', 'low'] as const).map((lane) => site.connection.names.lane(queue, lane).stream);
    const { streams } = await site.connection.admin();
    await Promise.all(lanes.map((stream) => streams.delete(stream)));
    await Promise.all((['critical', 'high', 'normal', 'low'] as const).map((lane) => site.installation.enqueue(queue, lane, { lane })));
    await eventually('one of each lane has run', () => ran.length === 4, 5000);
  });

  it('goes on after its link was cut', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    const proxy = await LinkProxy.open(site.installation.server.url);
    const link = await connect({ servers: proxy.url, namespace: 'broker' });
    const load = new Load(queue);
    const worker = await site.worker({ queue, handlers: { noop: load.handle }, definition: { lease: '2s' } }, link);
    await load.works('it works', 5000);
    for (let i = 0; i < 3; i++) {
      proxy.cut();
      expect(await load.works(`it works after cut ${i}`, 5000)).toBeLessThan(5000);
    }
    await load.end();
    await site.drained(queue);
    expect(link.reconnects).toBe(3);
    await worker.stop();
    await link.close();
    await proxy.close();
  });

  it('finds out about a half-open link', async () => {
    const queue = site.queueName();
    await site.define({ name: queue, lease: '2s' });
    const proxy = await LinkProxy.open(site.installation.server.url);
    const link = await connect({ servers: proxy.url, namespace: 'broker' });
    const load = new Load(queue);
    const worker = await site.worker({ queue, handlers: { noop: load.handle }, definition: { lease: '2s' } }, link);
    await load.works('it works', 5000);
    proxy.freeze();
    expect(await load.works('it works again', 10_000)).toBeLessThan(6000);
    await load.end();
    await site.drained(queue);
    await worker.stop();
    await link.close();
    await proxy.close();
  });

  it('goes on after the server was killed; what comes back settled is looked up and not run', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    const load = new Load(queue, 1);
    const workers = [];
    for (const name of ['a', 'b']) workers.push(await site.worker({ queue, name, handlers: { noop: load.handle } }));
    await load.works('it works', 5000);
    const { server } = site.installation;
    server.kill('SIGKILL');
    await server.exited;
    await server.start();
    await load.works('it works again', 10_000);
    await load.end();
    await site.drained(queue);
    await provisionQueue(site.connection, { name: queue });
    const records = await Promise.all([...load.accepted].slice(0, 500).map((key) => site.record(queue, key)));
    expect(records.filter((record) => record?.state !== 'completed')).toEqual([]);
    // Each run has its record before its ack: only what was in hand at the kill may have run twice.
    expect(load.repeated).toBeLessThan(50);
  });

  it('checks first deliveries for one lease after a reconnect', async () => {
    const queue = site.queueName();
    let runs = 0;
    const link = await site.installation.link();
    const worker = await site.worker({ queue, handlers: { noop: () => void runs++ } }, link);
    await link.raw().reconnect();
    await eventually('the link is new', () => link.reconnects === 1 && link.state === 'connected');
    await site.installation.store.writeRecord(
      queue,
      'done',
      { id: `${queue}.done`, hop: 1, state: 'completed', attempt: 1, at: {} },
      60_000,
    );
    await site.installation.enqueue(queue, 'done');
    await site.installation.enqueue(queue, 'fresh');
    await site.drained(queue);
    expect(runs).toBe(1);
    expect(await site.record(queue, 'fresh')).toMatchObject({ state: 'completed', worker: worker.name });
  });
});
