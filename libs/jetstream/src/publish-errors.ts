import { isLane, JetlaneError, QueueFullError, WrongSequenceError } from '@jetlane/protocol';

/** The error in an answer of the JetStream API. */
export interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

/** Refusals that pass by themselves: elections, restarts, an ingest queue that overflows. A full stream (10077) is for the caller. */
export function isPassing(error: ApiError): boolean {
  return (error.code === 503 && error.err_code !== 10077) || error.err_code === 10167;
}

/** A refusal for good, by the server's code. @param shared the lanes of a queue share their limits */
export function refusal(subject: string, error: ApiError | undefined, shared = false): JetlaneError {
  const details = { subject, errCode: error?.err_code, description: error?.description };
  switch (error?.err_code) {
    case 10077:
      return new QueueFullError(queueOf(subject), { details }, partOf(subject, shared));
    case 10071:
    case 10164:
      return new WrongSequenceError(subject, { details });
    case 10054:
    // Headers beyond the server's 64 KiB.
    case 10097:
      return new JetlaneError(
        'payload-too-large',
        `the message for ${subject} is larger than its stream allows; send a reference instead`,
        { details },
      );
    default:
      return new JetlaneError(
        'publish-refused',
        `the server refused a publish to ${subject}: ${error?.description ?? 'unreadable answer'}`,
        { details },
      );
  }
}

/** The client would not send it. */
export function publishError(subject: string, error: unknown): JetlaneError {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes('max_payload')) {
    return new JetlaneError(
      'payload-too-large',
      `the message for ${subject} is larger than the server's max_payload; send a reference instead`,
      { cause: error, details: { subject } },
    );
  }
  return new JetlaneError('publish-refused', `cannot publish to ${subject}: ${message}`, { cause: error, details: { subject } });
}

/** @param refused no stream took it: else whether it is stored is unknown */
export function timeoutError(subject: string, timeoutMs: number, refused: boolean): JetlaneError {
  const details = { subject, timeoutMs };
  if (refused)
    return new JetlaneError('no-responders', `no stream answered for ${subject} within ${timeoutMs} ms; is the queue provisioned?`, {
      details,
    });
  return new JetlaneError(
    'publish-timeout',
    `no confirmation for ${subject} within ${timeoutMs} ms; it may be stored: repeat it under the same id`,
    { details },
  );
}

/** Whoever published it does not want it stored any more. @param doubtful an earlier sending may have been stored */
export function abandonedError(subject: string, doubtful: boolean): JetlaneError {
  const stored = doubtful ? 'whether it is stored is unknown' : 'it is not stored';
  return new JetlaneError('publish-timeout', `the publish to ${subject} came too late and was given up; ${stored}`, {
    details: { subject },
  });
}

/** It may have been stored so long ago that its stream no longer knows its message id. */
export function forgottenError(subject: string, sinceMs: number): JetlaneError {
  return new JetlaneError(
    'publish-timeout',
    `no confirmation for ${subject} since ${Math.round(sinceMs)} ms; it may be stored, and is not sent again: its stream may have forgotten its id`,
    { details: { subject } },
  );
}

function partOf(subject: string, shared: boolean): string {
  const lane = subject.split('.').at(-2) ?? '';
  if (!isLane(lane)) return '';
  return shared ? ', all its lanes together' : ` in lane ${lane}`;
}

const queueOf = (subject: string): string => subject.split('.').at(-3) ?? subject;
