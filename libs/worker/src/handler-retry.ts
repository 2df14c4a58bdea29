import {
  backoffMs,
  type CompiledRetryPolicy,
  compileRetryPolicy,
  configurationError,
  type Duration,
  parseRetryHeader,
  type RetryPolicy,
  retryPolicySchema,
  spreadMs,
  tightenRetryPolicy,
  toMs,
} from '@jetlane/protocol';

/**
 * Delay before the attempt after `attempt` (from 1), which failed with `error`. Jitter and cap of the policy apply to it. One that throws, or
 * returns no duration, is answered with the exponential delay: a slip there must not cost the task.
 */
export type CustomBackoff = (attempt: number, error: unknown) => Duration;

/** A retry policy with what only code can say. Every field overrides the queue's own. */
export interface HandlerRetryPolicy extends Omit<RetryPolicy, 'backoff'> {
  /** How the delay grows. Default: the queue's, else exponential. */
  readonly backoff?: 'exponential' | 'fixed' | CustomBackoff | undefined;
  /**
   * False: another attempt is pointless, the task is dead at once with reason `fatal`. Not asked about `RetryLater` and `FatalError`, which
   * have said it already. Default, also when it throws: true.
   */
  readonly retryable?: ((error: unknown) => boolean) | undefined;
}

/** A compiled policy with a handler's functions. */
export interface CompiledHandlerRetry extends CompiledRetryPolicy {
  readonly custom?: CustomBackoff | undefined;
  readonly retryable?: ((error: unknown) => boolean) | undefined;
}

/** @throws JetlaneError `invalid-configuration` that lists every wrong field */
export function compileHandlerRetry(
  type: string,
  queue: RetryPolicy | undefined,
  handler: HandlerRetryPolicy | undefined,
): CompiledHandlerRetry {
  if (!handler) return compileRetryPolicy(queue);
  const { backoff, retryable, ...fields } = handler;
  const parsed = retryPolicySchema.safeParse(typeof backoff === 'function' ? fields : { ...fields, backoff });
  if (!parsed.success) throw configurationError(`retry of handler "${type}"`, parsed.error);
  return { ...compileRetryPolicy(queue, parsed.data), custom: typeof backoff === 'function' ? backoff : undefined, retryable };
}

/** The policy under a task's own override. One that cannot be read is passed over; one that names a backoff replaces the custom one. */
export function underHeader(policy: CompiledHandlerRetry, header: string | undefined): CompiledHandlerRetry {
  if (!header) return policy;
  try {
    const override = parseRetryHeader(header);
    const custom = override.backoff === undefined ? policy.custom : undefined;
    return { ...tightenRetryPolicy(policy, override), custom, retryable: policy.retryable };
  } catch {
    return policy;
  }
}

/** Delay before the attempt after `attempt`, in ms. */
export function delayAfter(policy: CompiledHandlerRetry, attempt: number, error: unknown): number {
  if (!policy.custom) return backoffMs(policy, attempt);
  try {
    return spreadMs(policy, toMs(policy.custom(attempt, error)));
  } catch {
    return backoffMs(policy, attempt);
  }
}

export function isRetryable(policy: CompiledHandlerRetry, error: unknown): boolean {
  try {
    return policy.retryable?.(error) !== false;
  } catch {
    return true;
  }
}
