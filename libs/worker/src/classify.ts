import {
  backoffMs,
  type CompiledRetryPolicy,
  type ErrorCode,
  type ErrorRecord,
  JetlaneError,
  parseRetryHeader,
  tightenRetryPolicy,
  toErrorRecord,
  toMs,
} from '@jetlane/protocol';
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
  readonly policy: CompiledRetryPolicy;
  readonly retryHeader: string | undefined;
  /** Why the signal fired, if it did. */
  readonly aborted: Error | undefined;
}

/** The outcome of a run that threw. Pure. */
export function classifyError(error: unknown, run: FailedRun): Outcome {
  if (run.aborted instanceof Interrupted) return { kind: 'interrupted' };
  if (error instanceof Cancelled) return { kind: 'cancelled', reason: error.message || 'the handler gave it up' };
  const record = toErrorRecord(error);
  if (error instanceof RetryLater && error.options.countsAsAttempt === false)
    return { kind: 'retry', delayMs: toMs(error.delay, 'RetryLater'), counted: false, error: record };
  if (error instanceof JetlaneError && isFatal(error)) return { kind: 'dead', reason: error.code, error: record };
  const policy = policyOf(run);
  if (run.attempt >= policy.attempts) return { kind: 'dead', reason: lastReason(error), error: record };
  const delayMs = error instanceof RetryLater ? toMs(error.delay, 'RetryLater') : backoffMs(policy, run.attempt);
  return { kind: 'retry', delayMs, counted: true, error: record };
}

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

function policyOf({ policy, retryHeader }: FailedRun): CompiledRetryPolicy {
  if (!retryHeader) return policy;
  try {
    return tightenRetryPolicy(policy, parseRetryHeader(retryHeader));
  } catch {
    return policy;
  }
}
