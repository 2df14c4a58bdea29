import type { Connection } from '@jetlane/jetstream';
import {
  COMMAND_CALLER_HEADER,
  type Command,
  type CommandInput,
  type CommandOutput,
  configurationError,
  JetlaneError,
} from '@jetlane/protocol';
import { type JetStreamContext, JetStreamServer } from '../transport/index.js';

export { callCommand, callService } from '@jetlane/jetstream';

/** Of a caller's name so much is kept in logs, jobs and the audit. */
const LONGEST_CALLER = 500;

/** Carries out one command. What it throws travels to the caller: a JetlaneError as it is, any other as `internal`. */
export type CommandHandler = (input: unknown, caller: string) => Promise<unknown>;

/**
 * Answers a command of the registry: its input is checked and has its defaults, and the caller is named.
 * @returns the way to stop answering
 */
export function serveRegistered<C extends Command>(
  connection: Connection,
  command: C,
  handler: (input: CommandInput<C>, caller: string) => Promise<CommandOutput<C>>,
): () => void {
  return serveCommand(connection, command.service, command.name, async (input, caller) => {
    const parsed = command.input.safeParse(input ?? {});
    if (parsed.success) return handler(parsed.data as CommandInput<C>, caller);
    const { message, details } = configurationError(`input of "${command.name}"`, parsed.error);
    throw new JetlaneError('invalid-argument', message, { ...(details ? { details } : {}) });
  });
}

/**
 * Answers a command over NATS, as `@MessagePattern` of a {@link JetStreamServer} with `commands: true` does; one of the service's processes
 * takes each call. It listens when this returns.
 * @returns the way to stop answering; calls in hand are answered
 */
export function serveCommand(connection: Connection, service: string, command: string, handler: CommandHandler): () => void {
  const server = new JetStreamServer({ connection, service, commands: true });
  server.addHandler(command, (input: unknown, context: JetStreamContext) =>
    handler(input, (context.getHeader(COMMAND_CALLER_HEADER) ?? 'unknown').slice(0, LONGEST_CALLER)),
  );
  server.listen(() => undefined);
  return () => void server.close().catch(() => undefined);
}
