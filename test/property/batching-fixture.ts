import type { BatchContext, BatchedQueueOptions, BatchResult, Clock } from '@jetlane/batching';
import { BatchedQueue } from '@jetlane/batching';

/** Time that passes when told to. */
export class FakeClock implements Clock {
  private time = 0;
  private timers: { readonly at: number; readonly call: () => void }[] = [];

  now(): number {
    return this.time;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.time + ms, call };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  /** Lets all that is ready run, then goes from timer to timer up to a moment. */
  async advance(ms: number): Promise<void> {
    const until = this.time + ms;
    for (;;) {
      await ready();
      const next = this.timers.reduce<(typeof this.timers)[number] | undefined>((a, b) => (!a || b.at < a.at ? b : a), undefined);
      if (!next || next.at > until) break;
      this.time = Math.max(this.time, next.at);
      this.timers = this.timers.filter((other) => other !== next);
      next.call();
    }
    this.time = until;
  }
}

/** Resolves when no promise that is settled now has work left. */
export const ready = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export interface Item {
  readonly id: number;
  readonly priority: number;
}

/** One call of the processor. */
export interface Call {
  readonly at: number;
  readonly items: readonly Item[];
  readonly attempts: readonly number[];
}

/** A queue under a clock of its own that notes what its processor is given. */
export class Bench {
  readonly clock = new FakeClock();
  readonly calls: Call[] = [];
  readonly succeeded: number[] = [];
  readonly dead: number[] = [];
  readonly dropped: number[] = [];
  readonly errors: Error[] = [];
  running = 0;
  mostRunning = 0;
  readonly queue: BatchedQueue<Item, number>;

  constructor(
    options: Partial<BatchedQueueOptions<Item, number>>,
    outcome: (item: Item, attempt: number) => BatchResult<number> = ({ id }) => ({ success: true, value: id }),
    runMs: (call: number) => number = () => 0,
  ) {
    const processor = async (items: readonly Item[], { attempts }: BatchContext) => {
      this.calls.push({ at: this.clock.now(), items, attempts });
      this.mostRunning = Math.max(this.mostRunning, ++this.running);
      const ms = runMs(this.calls.length);
      if (ms > 0) await new Promise<void>((resolve) => this.clock.after(ms, resolve));
      this.running--;
      return items.map((item, index) => outcome(item, attempts[index]! + 1));
    };
    this.queue = new BatchedQueue<Item, number>({
      name: 'bench',
      processor,
      clock: this.clock,
      onDead: ({ item }) => this.dead.push(item.id),
      ...options,
      hooks: {
        onProcessed: ({ id }) => this.succeeded.push(id),
        onDrop: ({ id }) => this.dropped.push(id),
        onError: (error) => this.errors.push(error),
        ...options.hooks,
      },
    });
  }

  ids(): number[] {
    return this.calls.flatMap(({ items }) => items.map(({ id }) => id));
  }
}

export const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);

/** Longer than anything in these tests, in ms. */
export const LONG = 10_000_000;

/** Enqueues items as they come: each so long after the one before. */
export async function play(bench: Bench, coming: readonly { gap: number; priority: number }[]): Promise<Item[]> {
  const items: Item[] = [];
  for (const [id, { gap, priority }] of coming.entries()) {
    if (gap > 20) await bench.clock.advance(gap - 20);
    items.push({ id, priority });
    await bench.queue.enqueue(items.at(-1)!, priority);
  }
  return items;
}
