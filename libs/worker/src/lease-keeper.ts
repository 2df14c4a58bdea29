import type { Connection } from '@jetlane/jetstream';
import type { HeldTask } from './held-task.js';

const TICK_MS = 250;
/** A gap between ticks that means the process stood still: blocked, stopped or swapped out. */
const GAP_MS = 2000;

/**
 * Keeps the leases of everything the worker holds, buffered or running: a `+WPI` for each every third of the lease, the
 * round ended by a flush. A round counts when its flush is answered. A task whose last sure moment is older than the
 * lease minus a margin is lost: the worker sends nothing for it any more, since the server may have given it to another.
 */
export class LeaseKeeper {
  private readonly held = new Set<HeldTask>();
  private readonly limitMs: number;
  private round: NodeJS.Timeout | undefined;
  private ticker: NodeJS.Timeout | undefined;
  private lastTick = performance.now();
  /** While set, what is read from the socket may have been delivered this long ago. */
  private stoodStillSince: number | undefined;
  private renewing = false;

  constructor(
    private readonly connection: Connection,
    private readonly leaseMs: number,
  ) {
    this.limitMs = leaseMs - Math.min(3000, leaseMs / 10);
  }

  start(): void {
    this.lastTick = performance.now();
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.round = setInterval(() => void this.renew(), this.leaseMs / 3);
  }

  stop(): void {
    clearInterval(this.ticker);
    clearInterval(this.round);
    this.held.clear();
  }

  /** The moment from which the lease of a message that is read now is counted. */
  arrival(): number {
    const now = performance.now();
    if (this.stoodStillSince === undefined && now - this.lastTick > GAP_MS) this.tick();
    return this.stoodStillSince ?? now;
  }

  add(task: HeldTask): void {
    this.held.add(task);
  }

  release(task: HeldTask): void {
    this.held.delete(task);
  }

  /** True when the task may be in other hands. */
  lost(task: HeldTask): boolean {
    return performance.now() - task.leasedAt > this.limitMs;
  }

  /** One round now; also after a reconnect, when the last round may be old. */
  async renew(): Promise<void> {
    if (this.renewing || this.held.size === 0 || this.connection.state !== 'connected') return;
    this.renewing = true;
    const began = performance.now();
    const tasks = [...this.held].filter((task) => !this.lost(task));
    try {
      for (const task of tasks) this.connection.inProgress(task.delivery);
      await this.connection.flush();
      for (const task of tasks) task.leasedAt = Math.max(task.leasedAt, began);
    } catch {
      // The link broke: the round does not count, and the next one after the reconnect decides.
    } finally {
      this.renewing = false;
    }
  }

  private tick(): void {
    const now = performance.now();
    const gap = now - this.lastTick;
    this.lastTick = now;
    if (gap < GAP_MS || this.stoodStillSince !== undefined) return;
    // What is in the socket was sent during the gap. The answer to a ping comes after all of it.
    this.stoodStillSince = now - gap;
    const settle = () => {
      this.stoodStillSince = undefined;
      void this.renew();
    };
    this.connection.flush().then(settle, settle);
  }
}
