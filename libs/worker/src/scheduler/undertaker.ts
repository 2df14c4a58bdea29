import { type Connection, type Delivery, deathHeaders, leaderGet, type TaskStore } from '@jetlane/jetstream';
import {
  type ErrorRecord,
  formatTaskId,
  HEADER,
  headerValue,
  isFinal,
  type JetlaneError,
  LANE_DEFAULTS,
  type StateRecord,
  toErrorRecord,
  WrongSequenceError,
} from '@jetlane/protocol';
import type { DueTask } from './due-task.js';

/**
 * Makes a dead letter of a due task that no lane can take. Order: dead letter (it holds the payload), then the record that watchers wait for;
 * the caller acks. Crash before the dead letter: nothing happened. Between dead letter and record, or before the ack: the due message comes
 * again, the look finds the dead letter, and its status is read from there. Test: scheduler.spec "dead letters of the due tasks".
 */
export class Undertaker {
  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
  ) {}

  async bury(task: DueTask, delivery: Delivery, cause: JetlaneError): Promise<void> {
    const { queue, lane, key, headers } = task;
    const error = toErrorRecord(cause);
    const source = { stream: this.connection.names.schedules, sequence: delivery.streamSequence };
    const death = { reason: cause.code, error, at: Date.now(), source, lane, type: headerValue(headers, HEADER.type) };
    await this.store.publishDead(queue, key, { ...task, extra: deathHeaders(death) });
    await this.record(deadRecord(task, cause.code, error), task);
  }

  /** A record of a higher hop, or of another end of this one, stays as it is. */
  private async record(dead: StateRecord, { queue, key, hop }: DueTask): Promise<void> {
    for (;;) {
      const { record, sequence } = await this.store.record(queue, key, leaderGet);
      if (record && (record.hop > hop || (record.hop === hop && isFinal(record.state)))) return;
      try {
        await this.store.writeRecord(queue, key, dead, LANE_DEFAULTS.keepRecordsMs, sequence);
        return;
      } catch (error) {
        if (!(error instanceof WrongSequenceError)) throw error;
      }
    }
  }
}

function deadRecord({ queue, key, lane, hop, attempt, headers }: DueTask, reason: string, error: ErrorRecord): StateRecord {
  const header = (name: string) => headerValue(headers, name);
  const created = Number(header(HEADER.createdAt)) || undefined;
  return {
    ...{ id: formatTaskId(queue, key), hop, lane, type: header(HEADER.type), group: header(HEADER.group), state: 'dead', attempt },
    ...{ error, reason, at: { created, finished: Date.now() } },
    ...{ hash: header(HEADER.hash), trace: header(HEADER.traceparent)?.split('-')[1] },
  } as StateRecord;
}
