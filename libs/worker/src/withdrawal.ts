import { leaderGet, type TaskCopy, type TaskStore } from '@jetlane/jetstream';
import { JetlaneError, type StateRecord, WrongSequenceError } from '@jetlane/protocol';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';

type CancelledOutcome = Outcome & { readonly kind: 'cancelled' };
type Found = Awaited<ReturnType<TaskStore['record']>>;

/** How long a cancelled record outlives the timer that it stops, in ms: timers fire late when a lane is full. */
const MARGIN_MS = 3_600_000;
/** How long it is kept when another worker set the timer, in ms. */
const UNKNOWN_DELAY_MS = 7 * 86_400_000;

/** What a worker needs to take back the next hop of a cancelled task. */
export interface WithdrawalParts {
  readonly store: TaskStore;
  /** Repeats what fails in passing, as long as the lease is the worker's. */
  readonly stored: <T>(task: HeldTask, call: () => Promise<T>) => Promise<T>;
  /** How long the record of a cancelled task is kept, ms. */
  readonly keepMs: () => number;
}

/** Cancellations that overtake a task whose next hop this worker stores. Stateless. */
export class Withdrawal {
  constructor(private readonly parts: WithdrawalParts) {}

  /** The outcome of a task that was cancelled at this hop or a later one. */
  async cancellation(task: HeldTask): Promise<CancelledOutcome | undefined> {
    return outcomeOf(task, await this.read(task));
  }

  /**
   * Looks again when the next hop is stored: whoever cancels writes the record and then removes copies, so either he finds the new copy, or
   * this look finds his record. It is then written once more for the next hop: whoever moves the timer when it is due drops it for that, also
   * where this worker's user may not delete it. What has reached a lane by then is removed by who may; else it runs.
   * Crash before the record: the redelivery finds both and comes here; but when whoever cancelled has removed this hop's copy already,
   * nothing is delivered again, and the next hop runs once more unless its worker remembers the notice. Between record and ack: the redelivery finds the record and only acks.
   * Tests: cancel.spec "meanwhile", cancel-overtakes.spec.
   * @param delayMs until the next hop's timer fires: the record is kept for longer
   */
  async withdraw(task: HeldTask, delayMs = UNKNOWN_DELAY_MS): Promise<CancelledOutcome | undefined> {
    for (;;) {
      const found = await this.read(task);
      const outcome = outcomeOf(task, found);
      if (!outcome) return undefined;
      try {
        await this.raise(task, found, delayMs);
      } catch (error) {
        if (!(error instanceof WrongSequenceError)) throw error;
        continue;
      }
      await this.removeCopies(task);
      return outcome;
    }
  }

  private read(task: HeldTask): Promise<Found> {
    const { store, stored } = this.parts;
    return stored(task, () => store.record(task.queue, task.key, leaderGet));
  }

  private async raise(task: HeldTask, { record, sequence }: Found, delayMs: number): Promise<void> {
    const { store, stored, keepMs } = this.parts;
    const hop = task.headers.hop + 1;
    if (record!.hop >= hop) return;
    const raised: StateRecord = { ...record!, hop };
    const ttlMs = Math.max(keepMs(), delayMs + MARGIN_MS);
    await stored(task, () => store.writeRecord(task.queue, task.key, raised, ttlMs, sequence));
  }

  private async removeCopies(task: HeldTask): Promise<void> {
    const { store, stored } = this.parts;
    try {
      await stored(task, () => store.removeCopies(task.queue, task.key));
    } catch (error) {
      // The record stands for them. A worker's user need not have the right to delete.
      if (!(error instanceof JetlaneError) || error.code !== 'permission-denied') throw error;
    }
  }
}

/** True when a hop was cancelled and a copy of a later one stands: its worker died before it could take it back. */
export const isOvertaken = (hop: number, settled: string | undefined, copies: readonly TaskCopy[]): boolean =>
  settled === 'cancelled' && copies.some((copy) => copy.hop > hop && copy.place !== 'dead');

function outcomeOf(task: HeldTask, { record }: Found): CancelledOutcome | undefined {
  if (record?.state !== 'cancelled' || record.hop < task.headers.hop) return undefined;
  return { kind: 'cancelled', reason: record.reason ?? 'cancelled' };
}
