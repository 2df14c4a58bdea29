import { bodyText, type Connection, type CoreMessage } from '@jetlane/jetstream';
import { ERROR_CODES, type ErrorCode, JetlaneError } from '@jetlane/protocol';

/** An error as a service's answer carries it. */
interface CommandError {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

interface Answer {
  readonly result?: unknown;
  readonly error?: CommandError;
}

/** Carries out one command. What it throws travels to the caller: a JetlaneError as it is, any other as `internal`. */
export type CommandHandler = (input: unknown) => Promise<unknown>;

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
    text = JSON.stringify({ result: await handler(readInput(message)) } satisfies Answer);
  } catch (error) {
    text = JSON.stringify({ error: toCommandError(error) } satisfies Answer);
  }
  try {
    connection.send(message.reply, text);
  } catch (error) {
    // Larger than the server takes: the caller must hear something.
    const why = `the answer of ${Buffer.byteLength(text)} bytes cannot be sent: ${(error as Error).message}; ask for less`;
    connection.send(message.reply, JSON.stringify({ error: { code: 'payload-too-large', message: why } } satisfies Answer));
  }
}

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

/**
 * Calls a command of a service.
 * @param timeoutMs default 2,000
 * @throws JetlaneError `service-unavailable` when nobody answers in time; else the error that the service threw, under its code
 */
export async function callService(
  connection: Connection,
  service: string,
  command: string,
  input?: unknown,
  timeoutMs = 2000,
): Promise<unknown> {
  const subject = connection.names.service(service, command);
  const message = await connection.request(subject, input === undefined ? '' : JSON.stringify(input), timeoutMs).catch((error: unknown) => {
    throw unavailable(service, command, error);
  });
  const { result, error } = JSON.parse(bodyText(message)) as Answer;
  if (error)
    throw new JetlaneError(isCode(error.code) ? error.code : 'internal', error.message, { details: { ...error.details, service } });
  return result;
}

const SILENT: ReadonlySet<string> = new Set(['no-responders', 'request-timeout', 'not-connected', 'connection-closed']);

function unavailable(service: string, command: string, error: unknown): unknown {
  if (!(error instanceof JetlaneError) || !SILENT.has(error.code)) return error;
  return new JetlaneError('service-unavailable', `the service "${service}" does not answer "${command}" (${error.code}); is it running?`, {
    cause: error,
    details: { service, command },
  });
}

const isCode = (code: string): code is ErrorCode => code in ERROR_CODES;
