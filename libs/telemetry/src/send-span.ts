import { context, type Span, type Tracer, trace } from '@opentelemetry/api';
import { messagingAttributes } from './messaging-attributes.js';
import { markFailed } from './record-error.js';
import { SPANS } from './spans.js';
import { contextOf, formatTraceparent, isTraceparent, type TraceHeaders } from './trace-context.js';
import { activeTracer } from './tracer.js';

/** A task on its way into a lane. */
export interface SentTask {
  readonly queue: string;
  readonly lane: string;
  readonly type?: string;
  readonly key: string;
}

/** A send that has begun: the headers to write on the task, and the end of its span. */
export interface ActiveSend {
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** Ends the span; with an error it is marked failed. */
  end(error?: unknown): void;
}

const NOTHING: ActiveSend = { traceparent: undefined, tracestate: undefined, end: () => undefined };

/**
 * Begins a PRODUCER span `send <queue>`, child of the given parent or else of the active span. Without an SDK there is no
 * span, and the headers are those of the parent or of the active span.
 */
export function startSend(task: SentTask, parent: TraceHeaders = {}): ActiveSend {
  const tracer = activeTracer();
  return tracer ? startSpan(tracer, task, parent) : passOn(parent);
}

/** Without an SDK: the headers of the parent, or of the active span, as they are. */
export function passOn(parent: TraceHeaders): ActiveSend {
  if (isTraceparent(parent.traceparent)) return new PassedOn(parent.traceparent, parent.tracestate);
  const active = trace.getActiveSpan()?.spanContext();
  return active && trace.isSpanContextValid(active) ? new PassedOn(formatTraceparent(active), active.traceState?.serialize()) : NOTHING;
}

function startSpan(tracer: Tracer, task: SentTask, parent: TraceHeaders): ActiveSend {
  const { queue, lane, type, key } = task;
  const attributes = messagingAttributes(SPANS.send, { id: `${queue}.${key}`, queue, lane, type });
  return new SpannedSend(tracer.startSpan(`send ${queue}`, { kind: SPANS.send.kind, attributes }, contextOf(context.active(), parent)));
}

class PassedOn implements ActiveSend {
  constructor(
    readonly traceparent: string,
    readonly tracestate: string | undefined,
  ) {}

  end(): void {}
}

/** A send with a span of its own, whose context the headers carry. */
export class SpannedSend implements ActiveSend {
  readonly traceparent: string;
  readonly tracestate: string | undefined;

  constructor(private readonly span: Span) {
    const own = span.spanContext();
    this.traceparent = formatTraceparent(own);
    this.tracestate = own.traceState?.serialize();
  }

  end(error?: unknown): void {
    if (error !== undefined) markFailed(this.span, error);
    this.span.end();
  }
}
