import { bodyText, type CommandAnswer, type CommandError, type Connection, type CoreMessage } from '@jetlane/jetstream';
import {
  COMMAND_CALLER_HEADER,
  type Command,
  type CommandInput,
  type CommandOutput,
  configurationError,
  decodeHeaders,
  headerValue,
  JetlaneError,
} from '@jetlane/protocol';

export { callCommand, callService } from '@jetlane/jetstream';

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
 * Answers a command over NATS; one of the service's processes takes each call.
 * @returns the way to stop answering
 */
export function serveCommand(connection: Connection, service: string, command: string, handler: CommandHandler): () => void {
  return connection.subscribe(connection.names.service(service, command), (message) => void answer(connection, message, handler), service);
}

async function answer(connection: Connection, message: CoreMessage, handler: CommandHandler): Promise<void> {
  if (!message.reply) return;
  let text: string;
  try {
    text = JSON.stringify({ result: await handler(readInput(message), callerOf(message)) } satisfies CommandAnswer);
  } catch (error) {
    text = JSON.stringify({ error: toCommandError(error) } satisfies CommandAnswer);
  }
  try {
    connection.send(message.reply, text);
  } catch (error) {
    // Larger than the server takes: the caller must hear something.
    const why = `the answer of ${Buffer.byteLength(text)} bytes cannot be sent: ${(error as Error).message}; ask for less`;
    connection.send(message.reply, JSON.stringify({ error: { code: 'payload-too-large', message: why } } satisfies CommandAnswer));
  }
}

const callerOf = (message: CoreMessage): string => headerValue(decodeHeaders(message.headers), COMMAND_CALLER_HEADER) ?? 'unknown';

function readInput(message: CoreMessage): unknown {
  const text = bodyText(message);
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new JetlaneError('invalid-json', 'the input of a command must be JSON');
  }
}

function toCommandError(error: unknown): CommandError {
  if (error instanceof JetlaneError) return { code: error.code, message: error.message, details: error.details };
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
}
