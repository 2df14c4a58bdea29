import {
  assertHeaderValue,
  COMMAND_CALLER_HEADER,
  type Command,
  type CommandInput,
  type CommandOutput,
  ERROR_CODES,
  type ErrorCode,
  encodeHeaders,
  HEADER,
  JetlaneError,
  withHeaders,
} from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { publishError } from './publish-errors.js';
import { bodyText } from './wire-message.js';

/** An error as a service's answer carries it. */
export interface CommandError {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What a service answers to a command. */
export interface CommandAnswer {
  readonly result?: unknown;
  readonly error?: CommandError;
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
  headers?: Uint8Array,
): Promise<unknown> {
  const subject = connection.names.service(service, command);
  const body = input === undefined ? '' : JSON.stringify(input);
  const message = await connection.request(subject, body, timeoutMs, headers).catch((error: unknown) => {
    throw unavailable(service, command, error);
  });
  const { result, error } = JSON.parse(bodyText(message)) as CommandAnswer;
  if (error)
    throw new JetlaneError(isCode(error.code) ? error.code : 'internal', error.message, { details: { ...error.details, service } });
  return result;
}

/**
 * Calls a command of the registry.
 * @param caller who asks, for the audit; on one line
 * @param trace what the command is a step of, as W3C Trace Context
 * @throws JetlaneError as {@link callService}; `invalid-headers` for a caller of several lines
 */
export async function callCommand<C extends Command>(
  connection: Connection,
  command: C,
  input: CommandInput<C>,
  caller: string,
  trace: { readonly traceparent?: string; readonly tracestate?: string } = {},
): Promise<CommandOutput<C>> {
  assertHeaderValue(COMMAND_CALLER_HEADER, caller);
  const { traceparent, tracestate } = trace;
  const carried = { [HEADER.traceparent]: traceparent, [HEADER.tracestate]: tracestate || undefined };
  const headers = encodeHeaders(withHeaders([[COMMAND_CALLER_HEADER, caller]], carried));
  return (await callService(connection, command.service, command.name, input, command.timeoutMs ?? 5000, headers)) as CommandOutput<C>;
}

const SILENT: ReadonlySet<string> = new Set(['no-responders', 'request-timeout', 'not-connected', 'connection-closed']);

function unavailable(service: string, command: string, error: unknown): unknown {
  if (!(error instanceof JetlaneError)) return publishError(`${service}.${command}`, error);
  if (!SILENT.has(error.code)) return error;
  return new JetlaneError('service-unavailable', `the service "${service}" does not answer "${command}" (${error.code}); is it running?`, {
    cause: error,
    details: { service, command },
  });
}

const isCode = (code: string): code is ErrorCode => code in ERROR_CODES;
