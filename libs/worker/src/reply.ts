import type { Connection } from '@jetlane/jetstream';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';
import type { CompiledOptions } from './options.js';
import { recordText } from './record-text.js';

/** Printable ASCII in tokens, none of them empty or a wildcard. */
const SUBJECT = /^[!-)+-\-/-=?-~]+(?:\.[!-)+-\-/-=?-~]+)*$/;
const LONGEST_SUBJECT = 256;

/**
 * Tells the end of a task to the subject in its `Task-Reply`: the same JSON as the state record, once, on core NATS. Best effort: who must know
 * reads the record.
 */
export class Replier {
  private readonly prefixes: readonly string[];

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
  ) {
    this.prefixes = ['_INBOX.', connection.names.pattern('replies.')];
  }

  /** Never throws. */
  reply(task: HeldTask, outcome: Outcome): void {
    const subject = task.headers.reply!;
    const { log, name } = this.options;
    if (outcome.kind !== 'completed' && outcome.kind !== 'dead' && outcome.kind !== 'cancelled') return;
    if (!this.allowed(subject)) return log.warn({ id: task.id, reply: subject.slice(0, LONGEST_SUBJECT) }, 'reply:refused');
    try {
      this.connection.send(subject, recordText(task, outcome, name));
    } catch (error) {
      log.warn({ id: task.id, error: String(error) }, 'reply:failed');
    }
  }

  /** Anybody may write the header: it must not make a worker publish where only the platform does. */
  private allowed(subject: string): boolean {
    return subject.length <= LONGEST_SUBJECT && SUBJECT.test(subject) && this.prefixes.some((prefix) => subject.startsWith(prefix));
  }
}
