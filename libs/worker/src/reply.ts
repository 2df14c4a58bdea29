import { type Connection, isReplySubject } from '@jetlane/jetstream';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';
import type { CompiledOptions } from './options.js';
import { recordText } from './record-text.js';

/** Longest part of a subject in the log. */
const LONGEST_SHOWN = 256;

/**
 * Tells the end of a task to the subject in its `Task-Reply`: the same JSON as the state record, once, on core NATS. Best effort: who must know
 * reads the record.
 */
export class Replier {
  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
  ) {}

  /** Never throws. */
  reply(task: HeldTask, outcome: Outcome): void {
    const subject = task.headers.reply!;
    const { log, name } = this.options;
    if (outcome.kind !== 'completed' && outcome.kind !== 'dead' && outcome.kind !== 'cancelled') return;
    if (!isReplySubject(this.connection, subject)) {
      return log.warn({ id: task.id, reply: subject.slice(0, LONGEST_SHOWN) }, 'reply:refused');
    }
    try {
      this.connection.send(subject, recordText(task, outcome, name));
    } catch (error) {
      log.warn({ id: task.id, error: String(error) }, 'reply:failed');
    }
  }
}
