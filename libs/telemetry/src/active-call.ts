import { type Context, context, ROOT_CONTEXT, type Span, trace } from '@opentelemetry/api';
import { markFailed } from './record-error.js';
import { contextOf, isTraceparent, type TraceHeaders } from './trace-context.js';

/** Work for somebody else that has begun. */
export interface ActiveCall {
  /** Calls `fn` with the span as the active one; without an SDK within the caller's trace. */
  run<T>(fn: () => T): T;
  /** Ends the span; with an error it is marked failed. */
  end(error?: unknown, outcome?: string): void;
}

/** Without an SDK, and for what is not to begin a trace: no span, and the caller's context. */
export class PassiveCall implements ActiveCall {
  constructor(private readonly parent: TraceHeaders) {}

  run<T>(fn: () => T): T {
    return isTraceparent(this.parent.traceparent) ? context.with(contextOf(ROOT_CONTEXT, this.parent), fn) : fn();
  }

  end(): void {}
}

/** A call with a span of its own. */
export class SpannedCall implements ActiveCall {
  constructor(
    private readonly span: Span,
    private readonly base: Context,
    private readonly outcomeName?: string,
  ) {}

  run<T>(fn: () => T): T {
    return context.with(trace.setSpan(this.base, this.span), fn);
  }

  end(error?: unknown, outcome?: string): void {
    if (outcome !== undefined && this.outcomeName) this.span.setAttribute(this.outcomeName, outcome);
    if (error !== undefined) markFailed(this.span, error);
    this.span.end();
  }
}
