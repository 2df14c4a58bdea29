import { errorOf } from './errors.js';
import type { BatchHooks } from './options.js';

type About<T, R> = Parameters<NonNullable<BatchHooks<T, R>['onError']>>[1];

/** Calls what the user gave, so that nothing it throws, at once or later, does harm. */
export class Reporter<T, R> {
  constructor(
    private readonly queue: string,
    readonly hooks: BatchHooks<T, R>,
  ) {}

  /** Calls a hook if there is one. Where there is one call per item, ask for the hook first: the arguments cost too. */
  tell<H extends Exclude<keyof BatchHooks<T, R>, 'onError'>>(hook: H, ...about: Parameters<NonNullable<BatchHooks<T, R>[H]>>): void {
    const call = this.hooks[hook] as ((...about: unknown[]) => unknown) | undefined;
    if (call) void this.guard(hook, () => call(...about));
  }

  async guard(during: string, call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (error) {
      void this.problem(error, { during });
    }
  }

  /** @param expected a failure of an item or a batch, which the queue deals with: no need to warn when nobody listens */
  async problem(error: unknown, about: About<T, R>, expected = false): Promise<void> {
    const { onError } = this.hooks;
    const warn = (during: string, { message }: Error) =>
      process.emitWarning(`queue "${this.queue}", ${during}: ${message}`, 'BatchingWarning');
    try {
      if (onError) await onError(errorOf(error), about);
      else if (!expected) warn(about.during, errorOf(error));
    } catch (thrown) {
      warn('onError', errorOf(thrown));
    }
  }
}
