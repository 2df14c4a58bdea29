import { errorOf } from './errors.js';
import type { BatchHooks } from './options.js';

type About<T, R> = Parameters<NonNullable<BatchHooks<T, R>['onError']>>[1];

/** Calls what the user gave, so that nothing it throws, at once or later, does harm. */
export class Reporter<T, R> {
  constructor(
    private readonly queue: string,
    readonly hooks: BatchHooks<T, R>,
  ) {}

  /** Runs a call of a hook. */
  guard(during: string, call: () => unknown): void {
    try {
      const returned = call();
      if (returned instanceof Promise) returned.catch((error: unknown) => this.problem(error, { during }));
    } catch (error) {
      this.problem(error, { during });
    }
  }

  /** A failure that nobody would hear of otherwise. */
  problem(error: unknown, about: About<T, R>): void {
    if (this.hooks.onError) void this.failure(error, about);
    else this.warn(about.during, error);
  }

  /** An expected failure, of an item or a batch: told to `onError` if there is one. */
  async failure(error: unknown, about: About<T, R>): Promise<void> {
    try {
      await this.hooks.onError?.(errorOf(error), about);
    } catch (thrown) {
      this.warn('onError', thrown);
    }
  }

  private warn(during: string, error: unknown): void {
    process.emitWarning(`queue "${this.queue}", ${during}: ${errorOf(error).message}`, 'BatchingWarning');
  }
}
