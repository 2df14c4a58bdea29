import { randomBytes } from 'node:crypto';
import { leaderGet, sureGet, type TaskStore } from '@jetlane/jetstream';
import { formatTaskId, IdempotencyConflictError, type StateRecord, WrongSequenceError } from '@jetlane/protocol';
import { type PreparedTask, payloadHash, timerHeaders } from './new-task.js';

/** Stores a task in its lane under the id of hop 1. */
export type PublishTask = (task: PreparedTask, headers: string) => Promise<unknown>;

/** What came of an enqueue with a caller's key. */
export interface Accepted {
  readonly duplicate: boolean;
  readonly record: StateRecord;
}

/**
 * Enqueues under the caller's key, once: first a record in state `accepted` with a random claim and the payload's hash,
 * created only if the key is new, then the task.
 * Crash before the record: nothing happened. Between record and task: whoever comes next under this key finds `accepted`,
 * looks for the task everywhere and publishes it if it is nowhere. After: done. Test: idempotency.spec.
 */
export async function enqueueOnce(
  publish: PublishTask,
  store: TaskStore,
  task: PreparedTask,
  headersFor: (hash: string) => string,
): Promise<Accepted> {
  const hash = payloadHash(task);
  const claim = randomBytes(9).toString('base64url');
  const record: StateRecord = {
    id: formatTaskId(task.queue, task.key),
    hop: 1,
    lane: task.lane,
    state: 'accepted',
    attempt: 1,
    at: { created: task.createdAt },
    claim,
    hash,
  };
  for (let expected = 0; ; ) {
    try {
      await store.writeRecord(task.queue, task.key, record, task.keepMs, expected);
      await publishFirst(publish, store, task, headersFor(hash));
      return { duplicate: false, record };
    } catch (error) {
      if (!(error instanceof WrongSequenceError)) throw error;
    }
    const { record: first, sequence } = await store.record(task.queue, task.key, leaderGet);
    // What stands there and is no record gives way to ours; what has gone meanwhile is tried anew.
    expected = sequence;
    if (!first) continue;
    if (first.claim === claim) {
      await publishFirst(publish, store, task, headersFor(hash));
      return { duplicate: false, record: first };
    }
    if (first.hash !== undefined && first.hash !== hash) throw new IdempotencyConflictError(record.id);
    if (first.state === 'accepted') await complete(publish, store, task, headersFor(hash));
    return { duplicate: true, record: first };
  }
}

/**
 * Finishes what another producer began and may not have ended. Where a lane is missing altogether its task may be back with it: that is no reason
 * to publish another one. @throws JetlaneError `no-responders`, to be tried again
 */
async function complete(publish: PublishTask, store: TaskStore, task: PreparedTask, headers: string): Promise<void> {
  // A copy on its way from one place to the next, from timer to due or from due to lane, may escape one look at all of them.
  for (let looks = 0; looks < 2; looks++) {
    if ((await store.traces(task.queue, task.key, sureGet)).copies.length > 0) return;
    const again = (await store.record(task.queue, task.key, leaderGet)).record;
    if (again && again.state !== 'accepted') return;
  }
  await publishFirst(publish, store, task, headers);
}

/** The first publication: into the lane under the id of hop 1, or as a timer that must be the first of its subject. */
export async function publishFirst(publish: PublishTask, store: TaskStore, task: PreparedTask, headers: string): Promise<void> {
  const { queue, key, lane, data } = task;
  if (task.delayMs > 0)
    await store.setTimer({ queue, lane, key, at: Date.now() + task.delayMs, hop: 1, attempt: 1, headers: timerHeaders(headers), data });
  else await publish(task, headers);
}
