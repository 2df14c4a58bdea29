import { type WaitUntilOptions, waitUntil } from '@jetlane/testing';
import { expect } from 'vitest';

/** Waits until a condition holds, and fails by name when it does not come. Default deadline: 10 s. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, options: WaitUntilOptions = {}): Promise<void> {
  expect(await waitUntil(condition, options), what).toBe(true);
}

/** Watches for a span of time that a condition keeps holding, and fails by name when it breaks. */
export async function holdsFor(what: string, ms: number, condition: () => boolean | Promise<boolean>): Promise<void> {
  expect(await waitUntil(async () => !(await condition()), { timeoutMs: ms }), what).toBe(false);
}

/** What a promise rejects with; fails when it resolves. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & { code?: unknown; retryable?: unknown; details?: Record<string, unknown> }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}
