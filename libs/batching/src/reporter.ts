import { errorOf } from './errors.js';
import type { BatchHooks, CompiledOptions } from './options.js';

type Hook = Exclude<keyof BatchHooks<never>, 'onError'>;
type About<T, R> = Parameters<NonNullable<BatchHooks<T, R>['onError']>>[1];

/** The lowest layer of a queue: calls what the user gave, so that nothing it throws, at once or later, does harm. */
export abstract class Reporter<T, R> {
  constructor(protected readonly options: CompiledOptions<T, R>) {}

  /** Calls a hook if there is one. Where there is one call per item, ask for the hook first: the arguments cost too. */
  protected tell<H extends Hook>(hook: H, ...about: Parameters<NonNullable<BatchHooks<T, R>[H]>>): void {
    const call = this.options.hooks[hook] as ((...about: unknown[]) => unknown) | undefined;
    if (call) void this.guard(hook, () => call(...about));
  }

  /** The answer of something that must not throw; if it does, the one that is given. */
  protected ask<V>(during: string, question: () => V, otherwise: V): V {
    try {
      return question();
    } catch (error) {
      void this.problem(error, { during });
      return otherwise;
    }
  }

  protected async guard(during: string, call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (error) {
      void this.problem(error, { during });
    }
  }

  /** @param expected a failure of an item or a batch, which the queue deals with: no need to warn when nobody listens */
  protected async problem(error: unknown, about: About<T, R>, expected = false): Promise<void> {
    const { name, hooks } = this.options;
    const warn = (during: string, { message }: Error) => process.emitWarning(`queue "${name}", ${during}: ${message}`, 'BatchingWarning');
    try {
      if (hooks.onError) await hooks.onError(errorOf(error), about);
      else if (!expected) warn(about.during, errorOf(error));
    } catch (thrown) {
      warn('onError', errorOf(thrown));
    }
  }
}
