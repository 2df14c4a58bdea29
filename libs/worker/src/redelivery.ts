import { leaderGet, type TaskCopy, type TaskStore } from '@jetlane/jetstream';
import { isFinal, type StateRecord } from '@jetlane/protocol';
import type { HeldTask } from './held-task.js';
import type { CompiledOptions } from './options.js';
import { isOvertaken } from './withdrawal.js';

/** Suspected crashes at which a task is given up. */
export const POISON_LIMIT = 3;

/** What the check found: run it, only ack it, take back its next hop first, give it up, or hand it back because the worker stops. */
export type Verdict = 'run' | 'settled' | 'cancelled' | 'overtaken' | 'poison' | 'interrupted';

/**
 * True when the task may have been settled by an earlier delivery: a redelivery, or a first delivery within one lease
 * after a reconnect (a killed server hands out hundreds of already acknowledged tasks, some as first deliveries) or after a
 * consumer was made anew (it knows no delivery, and acks that were under way found nobody).
 * @param doubtedAt `performance.now()` of the last such event, or 0
 */
export function needsCheck(task: HeldTask, doubtedAt: number, leaseMs: number): boolean {
  return task.delivery.count > 1 || (doubtedAt > 0 && performance.now() - doubtedAt < leaseMs);
}

/**
 * Looks whether this hop is settled. Reads from the leaders: a replica that lags would let a settled task run again.
 * For a redelivery it then notes a suspected crash in the record, before the task runs.
 * @param alone waits until a task that is suspected for the second time may run; false when the worker stops before
 */
export async function checkRedelivery(
  task: HeldTask,
  store: TaskStore,
  options: CompiledOptions,
  alone: (task: HeldTask) => Promise<boolean>,
): Promise<Verdict> {
  const { record, recordSequence, copies } = await store.traces(task.queue, task.key, leaderGet);
  task.recordSequence = recordSequence;
  const settled = settledBy(task.headers.hop, record, copies);
  if (isOvertaken(task.headers.hop, settled, copies)) return 'overtaken';
  if (settled) return settled;
  if (task.delivery.count === 1) return 'run';
  const crashes = record && record.hop === task.headers.hop ? (record.crashes ?? 0) : 0;
  // The note of the next crash comes after the turn: only who runs when the worker dies is suspected.
  if (crashes > 0 && !(await alone(task))) return 'interrupted';
  return noteCrash(task, crashes, store, options);
}

/** What says that a hop is settled, if anything does. */
export function settledBy(hop: number, record: StateRecord | undefined, copies: readonly TaskCopy[]): 'settled' | 'cancelled' | undefined {
  if (record && record.hop >= hop && isFinal(record.state))
    return record.state === 'cancelled' && record.hop === hop ? 'cancelled' : 'settled';
  return copies.some((copy) => copy.hop > hop || (copy.place === 'dead' && copy.hop >= hop)) ? 'settled' : undefined;
}

/**
 * Crash before the note: the delivery does not count as a crash, the next one will. Crash after it: counted though the
 * handler may not have begun; three are needed, and a hand-back takes its note back. Test: worker-failures.spec "poison".
 */
async function noteCrash(task: HeldTask, before: number, store: TaskStore, options: CompiledOptions): Promise<Verdict> {
  task.crashes = before + 1;
  if (task.crashes >= POISON_LIMIT) return 'poison';
  task.recordSequence = await writeCrashes(task, task.crashes, store, options);
  return 'run';
}

/** A task that goes back in good order was not killed: its note is taken back. */
export async function forgetCrash(task: HeldTask, store: TaskStore, options: CompiledOptions): Promise<void> {
  if (task.crashes > 0) await writeCrashes(task, task.crashes - 1, store, options);
}

async function writeCrashes(task: HeldTask, crashes: number, store: TaskStore, options: CompiledOptions): Promise<number> {
  const record: StateRecord = {
    id: task.id,
    hop: task.headers.hop,
    lane: task.lane,
    type: task.type,
    state: 'queued',
    attempt: task.headers.attempt,
    at: task.times(),
    crashes,
    worker: options.name,
    ...(task.headers.hash ? { hash: task.headers.hash } : {}),
  };
  const ack = await store.writeRecord(task.queue, task.key, record, options.keepRecordsMs, task.recordSequence);
  return ack.seq;
}
