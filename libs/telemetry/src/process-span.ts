import {
  type Context,
  context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { ATTR, CONSUMER_GROUP, DESTINATION_TEMPLATE, SYSTEM } from './conventions.js';
import { recordError } from './record-error.js';
import { contextOf, type TraceHeaders, traceIdOf } from './trace-context.js';
import { activeTracer } from './tracer.js';

/** A delivery that a worker begins to run. */
export interface ProcessedTask {
  /** `<queue>.<key>`. */
  readonly id: string;
  readonly queue: string;
  readonly lane: string;
  readonly type?: string;
  readonly attempt: number;
  readonly hop: number;
  readonly delivery: number;
}

/** A run that has begun. */
export interface ActiveProcess {
  /** The trace that the run belongs to, for records and logs. */
  readonly traceId: string | undefined;
  /** Calls `fn` with the span as the active one, so that what the handler does and sends becomes its child. */
  run<T>(fn: () => T): T;
  /** Notes a step on the way (`fetched`, `started`, …) at a time in ms since 1970. */
  hop(name: string, atMs: number): void;
  /** Ends the span with the outcome; with an error it is marked failed. */
  end(outcome: string, error?: unknown): void;
}

/**
 * Begins a CONSUMER span `process <queue>`, child of the span that the task's headers name. Without an SDK there is no span,
 * and the trace id is the one of the headers.
 * @param task tells about the task; called when there is a span to describe it
 */
export function startProcess(task: () => ProcessedTask, parent: TraceHeaders): ActiveProcess {
  const tracer = activeTracer();
  return tracer ? startSpan(tracer, task(), parent) : new PassiveProcess(parent.traceparent);
}

function startSpan(tracer: Tracer, task: ProcessedTask, parent: TraceHeaders): ActiveProcess {
  const attributes = {
    [ATTR.system]: SYSTEM,
    [ATTR.systemDeprecated]: SYSTEM,
    [ATTR.operationName]: 'process',
    [ATTR.operationType]: 'process',
    [ATTR.destination]: task.queue,
    [ATTR.destinationTemplate]: DESTINATION_TEMPLATE,
    [ATTR.consumerGroup]: CONSUMER_GROUP,
    [ATTR.messageId]: task.id,
    [ATTR.lane]: task.lane,
    [ATTR.type]: task.type,
    [ATTR.attempt]: task.attempt,
    [ATTR.hop]: task.hop,
    [ATTR.delivery]: task.delivery,
  };
  // From the root: the worker's own context is not where the task comes from.
  const base = contextOf(ROOT_CONTEXT, parent);
  return new SpannedProcess(tracer.startSpan(`process ${task.queue}`, { kind: SpanKind.CONSUMER, attributes }, base), base);
}

/** A batch that a handler works on. */
export interface ActiveBatch {
  /** Calls `fn` with the batch's span as the active one. */
  run<T>(fn: () => T): T;
  /** Ends the span; with an error it is marked failed. */
  end(error?: unknown): void;
}

/** Begins a span of its own for a batch, with a link to the span of each task in it. Without an SDK there is none. */
export function startBatch(queue: string, type: string, tasks: readonly ActiveProcess[]): ActiveBatch | undefined {
  const tracer = activeTracer();
  if (!tracer) return undefined;
  const links = tasks.flatMap((task) => (task instanceof SpannedProcess ? [{ context: task.spanContext }] : []));
  const attributes = {
    [ATTR.system]: SYSTEM,
    [ATTR.operationName]: 'process',
    [ATTR.operationType]: 'process',
    [ATTR.destination]: queue,
    [ATTR.type]: type,
    [ATTR.batchSize]: tasks.length,
  };
  const span = tracer.startSpan(`process batch ${queue}`, { kind: SpanKind.CONSUMER, attributes, links }, ROOT_CONTEXT);
  return new SpannedBatch(span);
}

class SpannedBatch implements ActiveBatch {
  constructor(private readonly span: Span) {}

  run<T>(fn: () => T): T {
    return context.with(trace.setSpan(ROOT_CONTEXT, this.span), fn);
  }

  end(error?: unknown): void {
    if (error !== undefined) fail(this.span, error);
    this.span.end();
  }
}

function fail(span: Span, error: unknown): void {
  recordError(span, error);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
}

class PassiveProcess implements ActiveProcess {
  constructor(private readonly traceparent: string | undefined) {}

  get traceId(): string | undefined {
    return traceIdOf(this.traceparent);
  }

  run<T>(fn: () => T): T {
    return fn();
  }

  hop(): void {}

  end(): void {}
}

class SpannedProcess implements ActiveProcess {
  readonly traceId: string;

  constructor(
    private readonly span: Span,
    private readonly base: Context,
  ) {
    this.traceId = span.spanContext().traceId;
  }

  get spanContext(): SpanContext {
    return this.span.spanContext();
  }

  run<T>(fn: () => T): T {
    return context.with(trace.setSpan(this.base, this.span), fn);
  }

  hop(name: string, atMs: number): void {
    this.span.addEvent(name, atMs);
  }

  end(outcome: string, error?: unknown): void {
    this.span.setAttribute(ATTR.outcome, outcome);
    if (error !== undefined) fail(this.span, error);
    this.span.end();
  }
}
