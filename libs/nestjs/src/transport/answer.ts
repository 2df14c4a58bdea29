import { ERROR_CODES, type ErrorCode, JetlaneError } from '@jetlane/protocol';
import { RpcException } from '@nestjs/microservices';

/** An error as an answer carries it. */
interface AnswerError {
  readonly name: string;
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

interface Answer {
  readonly result?: unknown;
  readonly error?: AnswerError;
}

/** The text of a result. */
export const resultText = (result: unknown): string => JSON.stringify({ result } satisfies Answer);

/** The text of an error; never its stack. Never throws: of an error that JSON refuses (a cycle, a bigint) name, code and message stay. */
export function errorText(error: unknown): string {
  for (const form of [describe, withoutDetails]) {
    try {
      return JSON.stringify({ error: form(error) } satisfies Answer);
    } catch {
      // The next form says less.
    }
  }
  return JSON.stringify({ error: { name: 'Error', code: 'internal', message: 'an error that cannot be described' } } satisfies Answer);
}

function withoutDetails(error: unknown): AnswerError {
  const code = error instanceof RpcException ? codeOf(Object(error.getError())) : codeOf(Object(error));
  if (!(error instanceof Error)) return { name: 'Error', code, message: 'what was thrown cannot be written as JSON' };
  return { name: String(error.name), code, message: String(error.message) };
}

function describe(error: unknown): AnswerError {
  if (error instanceof JetlaneError) return { name: error.name, code: error.code, message: error.message, details: error.details };
  if (error instanceof RpcException) return describeRpc(error);
  if (error instanceof Error) return { name: error.name, code: codeOf(error), message: error.message };
  return { name: 'Error', code: 'internal', message: typeof error === 'string' ? error : (JSON.stringify(error) ?? 'unknown') };
}

function describeRpc(error: RpcException): AnswerError {
  const inner = error.getError();
  if (typeof inner === 'string') return { name: error.name, code: 'internal', message: inner };
  return { name: error.name, code: codeOf(inner), message: error.message, details: { ...inner } };
}

const codeOf = (error: object): string => ('code' in error && typeof error.code === 'string' ? error.code : 'internal');

/**
 * The result in an answer.
 * @throws JetlaneError with the code, message and details of the error on the other side (`internal` for a code that is not Jetlane's own;
 * `details.code` has the original) and with its class name in `details.name`
 */
export function readAnswer(text: string, subject: string): unknown {
  const { result, error } = parse(text, subject);
  if (!error) return result;
  const details = { ...error.details, name: error.name, code: error.code, subject };
  throw new JetlaneError(error.code in ERROR_CODES ? (error.code as ErrorCode) : 'internal', error.message, { details });
}

function parse(text: string, subject: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch (cause) {
    throw new JetlaneError('invalid-json', `the answer on "${subject}" is not JSON; is a JetStreamServer there?`, {
      cause,
      details: { subject },
    });
  }
}
