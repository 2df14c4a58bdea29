import type { Connection } from '@jetlane/jetstream';
import { serveRegistered } from '@jetlane/nestjs/service';
import { type Command, type CommandInput, type CommandOutput, JetlaneError } from '@jetlane/protocol';
import type { Audit } from './audit.js';

/** What a command that changes something did: its answer, and what the audit keeps. */
export interface Change<T> {
  readonly output: T;
  readonly before?: unknown;
  readonly after?: unknown;
}

/**
 * Answers a command that changes something. What was done, or why it failed, is in the audit before the answer goes out.
 * @returns the way to stop answering
 */
export function serveChange<C extends Command>(
  connection: Connection,
  audit: Audit,
  command: C,
  handler: (input: CommandInput<C>, caller: string) => Promise<Change<CommandOutput<C>>>,
): () => void {
  return serveRegistered(connection, command, async (input, caller) => {
    const entry = { at: Date.now(), caller, command: command.name, target: targetOf(input) };
    try {
      const { output, before, after } = await handler(input, caller);
      await audit.record({ ...entry, before, after });
      return output;
    } catch (thrown) {
      const error = lanesAreGone(thrown) ? inMotion(entry.target, thrown) : thrown;
      const { code, message } = error instanceof JetlaneError ? error : { code: 'internal', message: String(error) };
      await audit.record({ ...entry, after: withoutPayload(input), error: { code, message } }).catch(() => undefined);
      throw error;
    }
  });
}

/** `consumer not found`, `stream not found`: the queue is defined, but its lanes are not there. */
const lanesAreGone = (error: unknown): boolean =>
  error instanceof Error && [10_014, 10_059].includes((error as Error & { code?: unknown }).code as number);

const inMotion = (queue: string, cause: unknown): JetlaneError =>
  new JetlaneError('unknown-queue', `the lanes of "${queue}" are being made or deleted at this moment; try again in a few seconds`, {
    cause,
    details: { queue },
  });

/** What a task carries is nobody's business here. */
function withoutPayload(input: object): object {
  const { data: _data, base64: _base64, ...asked } = input as Record<string, unknown>;
  return asked;
}

function targetOf(input: object): string {
  const { queue, id, task_id } = input as { queue?: unknown; id?: unknown; task_id?: unknown };
  return String(task_id ?? id ?? queue ?? '');
}
