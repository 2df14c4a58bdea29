import type { Connection } from '@jetlane/jetstream';
import type { Lane } from '@jetlane/protocol';
import { HeldList } from './held-list.js';
import type { HeldTask } from './held-task.js';

const LONGEST_TICK_MS = 250;
const LONGEST_MARGIN_MS = 3000;
/** The queue manager changes the consumer two seconds after the definition, or on its next round. */
export const LENGTHEN_AFTER_MS = 60_000;

/** The lease of a task ran out: nothing more may be sent for it. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';

  constructor(id: string) {
    super(`the lease of task "${id}" ran out; another worker may run it`);
  }
}

/**
 * Keeps the leases of everything the worker holds, buffered or running: a `+WPI` for each every third of the lease, the
 * round ended by a flush. A round counts when its flush is answered. A task whose last sure moment is older than the
 * lease minus a margin is lost: the worker sends nothing for it any more, since the server may have given it to another.
 */
export class LeaseKeeper {
  private held = new HeldList();
  private limitMs = 0;
  /**
   * A gap between ticks that means the process stood still: blocked, stopped or swapped out. Shorter than the margin: a
   * task that was sent during a gap which nobody notices must still be ours when its lease is counted from the reading.
   */
  private gapMs = 0;
  private round: NodeJS.Timeout | undefined;
  private ticker: NodeJS.Timeout | undefined;
  private lastTick = performance.now();
  /** While set, what is read from the socket may have been delivered this long ago. */
  private stoodStillSince: number | undefined;
  private renewing = false;

  private lengthening: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: Connection,
    private leaseMs: number,
  ) {
    this.measure(leaseMs);
  }

  /**
   * Another lease from now on. A shorter one holds at once: the server's consumer gets it later. A longer one holds when the consumer has
   * surely got it, since a lease that the server counts shorter than we do is lost before we renew it.
   */
  change(leaseMs: number): void {
    clearTimeout(this.lengthening);
    if (leaseMs > this.leaseMs) this.lengthening = setTimeout(() => this.measure(leaseMs), LENGTHEN_AFTER_MS).unref();
    else if (leaseMs < this.leaseMs) this.measure(leaseMs);
  }

  private measure(leaseMs: number): void {
    const margin = Math.min(LONGEST_MARGIN_MS, leaseMs / 4);
    this.leaseMs = leaseMs;
    this.limitMs = leaseMs - margin;
    this.gapMs = (margin * 2) / 3;
    if (!this.ticker) return;
    this.stop(this.held);
    this.start();
    void this.renew();
  }

  start(): void {
    this.lastTick = performance.now();
    this.ticker = setInterval(() => this.tick(), Math.min(LONGEST_TICK_MS, this.gapMs / 4));
    this.round = setInterval(() => void this.renew(), this.leaseMs / 3);
  }

  stop(held = new HeldList()): void {
    clearInterval(this.ticker);
    clearInterval(this.round);
    if (held !== this.held) clearTimeout(this.lengthening);
    this.held = held;
  }

  /** The moment from which the lease of a message that is read now is counted. */
  arrival(): number {
    const now = performance.now();
    if (this.stoodStillSince === undefined && now - this.lastTick > this.gapMs) this.tick();
    return this.stoodStillSince ?? now;
  }

  add(task: HeldTask): void {
    this.held.add(task);
  }

  release(task: HeldTask): void {
    this.held.delete(task);
  }

  /** What is held: buffered, running or being settled. */
  all(): Iterable<HeldTask> {
    return this.held;
  }

  /** What is held and has a slot. */
  *running(): Generator<HeldTask> {
    for (const task of this.held) if (task.slot === 'running') yield task;
  }

  /**
   * A lane's stream was made anew: what was stored before is in the old one, and an ack would settle whatever has its sequence now.
   * @param created when it was made, ms since 1970
   */
  letGoOlder(lane: Lane, created: number): void {
    for (const task of this.held) if (task.lane === lane && task.delivery.storedAt < created) task.leasedAt = Number.NEGATIVE_INFINITY;
    this.dropLost();
  }

  /** True when the task may be in other hands. */
  lost(task: HeldTask): boolean {
    return performance.now() - task.leasedAt > this.limitMs;
  }

  /** One round now; also after a reconnect, when the last round may be old. */
  async renew(): Promise<void> {
    if (this.renewing || this.held.empty || this.connection.state !== 'connected') return;
    this.renewing = true;
    const began = performance.now();
    const tasks = [...this.held].filter((task) => !this.lost(task));
    try {
      for (const task of tasks) this.connection.inProgress(task.delivery);
      await this.connection.flush();
      // An answer after the old lease may have run out proves nothing: the server may have dealt the task anew before the round.
      for (const task of tasks) if (!this.lost(task)) task.leasedAt = Math.max(task.leasedAt, began);
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
    this.dropLost();
    if (gap < this.gapMs || this.stoodStillSince !== undefined) return;
    // What is in the socket was sent during the gap. The answer to a ping comes after all of it.
    this.stoodStillSince = now - gap;
    const settle = () => {
      this.stoodStillSince = undefined;
      void this.renew();
    };
    this.connection.flush().then(settle, settle);
  }

  /** The handler of a task that may be in other hands is told to end. */
  private dropLost(): void {
    for (const task of this.held) {
      if (!this.lost(task)) continue;
      this.held.delete(task);
      task.abort(new LeaseLostError(task.id));
    }
  }
}
