import { type Duration, type ErrorCode, type ErrorRecord, JetlaneError, MESSAGE_LIMIT, toErrorRecord, toMs } from '@jetlane/protocol';
import { type CompiledHandlerRetry, delayAfter, isRetryable, underHeader } from './handler-retry.js';
import { Cancelled, Interrupted, RetryLater } from './task-context.js';

/** What came of a run. */
export type Outcome =
  | { readonly kind: 'completed'; readonly result: unknown }
  /** Runs again after a delay; `counted`: this run was an attempt. */
  | { readonly kind: 'retry'; readonly delayMs: number; readonly counted: boolean; readonly error: ErrorRecord }
  | { readonly kind: 'dead'; readonly reason: ErrorCode; readonly error: ErrorRecord }
  | { readonly kind: 'cancelled'; readonly reason: string }
  /** The worker stops: the task goes back as it was. */
  | { readonly kind: 'interrupted' }
  /** This hop is settled already, by an earlier delivery: nothing is left but the ack. */
  | { readonly kind: 'duplicate' };

/** What the rule for failures looks at. */
export interface FailedRun {
  readonly attempt: number;
  readonly policy: CompiledHandlerRetry;
  readonly retryHeader: string | undefined;
  /** Why the signal fired, if it did. */
  readonly aborted: Error | undefined;
  /** What a batch handler said beside the error of one item. */
  readonly verdict?: ItemVerdict | undefined;
  /** The error is that of a whole batch: no single task is impossible or unwanted for it. */
  readonly shared?: boolean;
}

/** See `ItemOutcome`. */
export interface ItemVerdict {
  readonly retryable?: boolean | undefined;
  readonly delay?: Duration | undefined;
}

/** Longest delay of a retry, in ms: ten years. Beyond year 9999 a timer cannot be written down. */
export const LONGEST_DELAY_MS = 3_650 * 86_400_000;

/** The outcome of a run that threw. Pure, and total: handlers throw anything, also values that throw when they are read. */
export function classifyError(error: unknown, run: FailedRun): Outcome {
  try {
    return classify(error, run);
  } catch {
    return classify(new Error('the handler threw a value that cannot be read'), run);
  }
}

function classify(thrown: unknown, run: FailedRun): Outcome {
  if (run.aborted instanceof Interrupted) return { kind: 'interrupted' };
  // Whatever it threw when it was told: nobody wants another run, nor a dead letter.
  if (run.aborted instanceof Cancelled) return { kind: 'cancelled', reason: textOf(run.aborted.message) || 'the handler gave it up' };
  if (!run.shared && thrown instanceof Cancelled) return { kind: 'cancelled', reason: textOf(thrown.message) || 'the handler gave it up' };
  const fatal = !run.shared && thrown instanceof JetlaneError && isFatal(thrown);
  // A handler that heeds its signal mostly throws the AbortError of what it awaited; the signal's reason says more.
  const error = run.aborted && !fatal && !(thrown instanceof RetryLater) ? run.aborted : thrown;
  const record = readError(error);
  if (fatal) return { kind: 'dead', reason: thrown.code, error: record };
  const policy = underHeader(run.policy, run.retryHeader);
  if (!mayRetry(error, policy, run.verdict)) return { kind: 'dead', reason: 'fatal', error: record };
  const counted = !(error instanceof RetryLater && error.options.countsAsAttempt === false);
  if (counted && run.attempt >= policy.attempts) return { kind: 'dead', reason: lastReason(error), error: record };
  const delay = error instanceof RetryLater ? error.delay : run.verdict?.delay;
  return { kind: 'retry', delayMs: delayOf(delay, policy, run.attempt, error), counted, error: record };
}

/** Whether another run may mend it, the attempts apart. */
function mayRetry(error: unknown, policy: CompiledHandlerRetry, verdict: ItemVerdict | undefined): boolean {
  if (error instanceof RetryLater) return true;
  return verdict?.retryable ?? (lastReason(error) === 'no-handler' || isRetryable(policy, error));
}

/** A delay that was asked for and cannot be read gives way to the policy's: a slip there must not cost the task. */
function delayOf(asked: Duration | undefined, policy: CompiledHandlerRetry, attempt: number, error: unknown): number {
  const delay = asked === undefined ? undefined : readDelay(asked);
  return Math.min(LONGEST_DELAY_MS, delay ?? delayAfter(policy, attempt, error));
}

function readDelay(delay: Duration): number | undefined {
  try {
    return toMs(delay, 'delay');
  } catch {
    return undefined;
  }
}

/** Name, message and stack of an error are text by convention only. */
function readError(error: unknown): ErrorRecord {
  const record = toErrorRecord(error);
  if (isText(record.name) && isText(record.message) && isText(record.stack ?? '')) return record;
  return { name: textOf(record.name), message: textOf(record.message) };
}

const isText = (value: unknown): boolean => typeof value === 'string';

const textOf = (value: unknown): string => (typeof value === 'string' ? value : String(value)).slice(0, MESSAGE_LIMIT);

/** A missing handler is retried, since a deployment may be under way; what is left in the end says what it was. */
const lastReason = (error: unknown): ErrorCode =>
  error instanceof JetlaneError && error.code === 'no-handler' ? 'no-handler' : 'attempts-exhausted';

const FATAL_CODES: ReadonlySet<ErrorCode> = new Set([
  'fatal',
  'no-type',
  'undecodable-payload',
  'invalid-headers',
  'result-too-large',
  'invalid-argument',
]);

/** A Jetlane error that no later run can mend. Errors of the platform itself (a lost link, a full queue) are not of this kind. */
function isFatal(error: JetlaneError): boolean {
  return error.name === 'FatalError' || FATAL_CODES.has(error.code);
}
