import { z } from 'zod';
import { durationSchema, toMs } from './duration.js';
import { JetlaneError } from './errors.js';

const duration = durationSchema();

/** Schema of a retry policy as people write it. */
export const retryPolicySchema = z.strictObject({
  attempts: z.int().min(1).max(100).optional().describe('Handler runs in all before the task is dead. Default 5.'),
  backoff: z.enum(['exponential', 'fixed']).optional().describe('How the delay grows. Default exponential.'),
  initialDelay: duration.optional().describe('Delay before the second attempt. Default 1s.'),
  factor: z.number().min(1).max(10).optional().describe('Growth of the exponential delay. Default 2.'),
  maxDelay: duration.optional().describe('Cap of the delay. Default 5m.'),
  jitter: z.number().min(0).max(1).optional().describe('Part of the delay that is random, 0 to 1. Default 0.2.'),
});

/** The rule that gives the delay before the next attempt. Every field has a default. */
export type RetryPolicy = z.infer<typeof retryPolicySchema>;

/** A retry policy with defaults filled in and durations in milliseconds. */
export interface CompiledRetryPolicy {
  readonly attempts: number;
  readonly backoff: 'exponential' | 'fixed';
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  readonly jitter: number;
}

/** Five attempts; 1 s, 2 s, 4 s, 8 s with 20 % jitter, never above 5 min. */
export const DEFAULT_RETRY_POLICY: CompiledRetryPolicy = {
  attempts: 5,
  backoff: 'exponential',
  initialMs: 1000,
  factor: 2,
  maxMs: 300_000,
  jitter: 0.2,
};

/** Fills in defaults, last policy first: `compileRetryPolicy(queuePolicy, handlerPolicy)`. */
export function compileRetryPolicy(...policies: (RetryPolicy | undefined)[]): CompiledRetryPolicy {
  const merged: RetryPolicy = Object.assign(
    {},
    ...policies.map((policy) => Object.fromEntries(Object.entries(policy ?? {}).filter(([, value]) => value !== undefined))),
  );
  const base = DEFAULT_RETRY_POLICY;
  return {
    attempts: merged.attempts ?? base.attempts,
    backoff: merged.backoff ?? base.backoff,
    initialMs: merged.initialDelay === undefined ? base.initialMs : toMs(merged.initialDelay, 'retry.initialDelay'),
    factor: merged.factor ?? base.factor,
    maxMs: merged.maxDelay === undefined ? base.maxMs : toMs(merged.maxDelay, 'retry.maxDelay'),
    jitter: merged.jitter ?? base.jitter,
  };
}

/**
 * Delay before the attempt after `attempt`, in ms: within `jitter` of the plain curve and never above the cap.
 * @param attempt the attempt that failed, from 1
 * @param random in [0, 1), for tests
 */
export function backoffMs(policy: CompiledRetryPolicy, attempt: number, random: () => number = Math.random): number {
  const growth = policy.backoff === 'fixed' ? 1 : policy.factor ** Math.min(attempt - 1, 64);
  return spreadMs(policy, policy.initialMs * growth, random);
}

/** A delay of any curve with the policy's jitter and under its cap, in ms. */
export function spreadMs({ jitter, maxMs }: CompiledRetryPolicy, plainMs: number, random: () => number = Math.random): number {
  const plain = Math.min(plainMs, maxMs);
  const spread = plain * jitter;
  return Math.round(Math.min(plain - spread + 2 * spread * random(), maxMs));
}

/** Compact form of an override for the header `Task-Retry`, as in `attempts=3,initialDelay=500ms`. */
export function formatRetryHeader(policy: RetryPolicy): string {
  return Object.entries(policy)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/**
 * Reads the header `Task-Retry`.
 * @throws JetlaneError `invalid-headers` when it does not fit the schema
 */
export function parseRetryHeader(text: string): RetryPolicy {
  const fields = Object.fromEntries(
    text.split(',').map((part) => {
      const [key = '', value = ''] = part.split('=', 2).map((piece) => piece.trim());
      return [key, /^\d+(\.\d+)?(e[+-]?\d+)?$/.test(value) ? Number(value) : value];
    }),
  );
  const parsed = retryPolicySchema.safeParse(fields);
  if (!parsed.success) {
    throw new JetlaneError('invalid-headers', `header Task-Retry is not a retry policy: ${parsed.error.issues[0]?.message ?? text}`, {
      details: { header: 'Task-Retry' },
    });
  }
  return parsed.data;
}

/** A task's own override may only tighten: it can lower the number of attempts, never raise it. */
export function tightenRetryPolicy(policy: CompiledRetryPolicy, override: RetryPolicy): CompiledRetryPolicy {
  const own = compileRetryPolicy({ ...uncompile(policy), ...override });
  return { ...own, attempts: Math.min(own.attempts, policy.attempts) };
}

function uncompile(policy: CompiledRetryPolicy): RetryPolicy {
  const { attempts, backoff, initialMs, factor, maxMs, jitter } = policy;
  return { attempts, backoff, initialDelay: initialMs, factor, maxDelay: maxMs, jitter };
}
