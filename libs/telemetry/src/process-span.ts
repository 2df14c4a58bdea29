import { type Context, context, ROOT_CONTEXT, type Span, type SpanContext, type Tracer, trace } from '@opentelemetry/api';
import { ATTR, CONSUMER_GROUP, SYSTEM } from './conventions.js';
import { messagingAttributes, type SpannedTask } from './messaging-attributes.js';
import { markFailed } from './record-error.js';
import { eachHop, type HopMoments, SPANS } from './spans.js';
import { contextOf, type TraceHeaders, traceIdOf } from './trace-context.js';
import { activeTracer } from './tracer.js';

/** A delivery that a worker begins to run. */
export interface ProcessedTask extends SpannedTask {
  readonly attempt: number;
  readonly hop: number;
  readonly delivery: number;
}

/** How a run ended, for its spans. */
export interface ProcessEnd {
  readonly outcome: string;
  readonly error?: unknown;
  /** Until the next attempt, in ms. */
  readonly delayMs?: number | undefined;
  /** When the task was where; read when there is a span to describe. */
  readonly moments: () => HopMoments;
}

/** A run that has begun. */
export interface ActiveProcess {
  /** The trace that the run belongs to, for records and logs. */
  readonly traceId: string | undefined;
  /** Calls `fn` with the span as the active one, so that what the handler does and sends becomes its child. */
  run<T>(fn: () => T): T;
  /** The handler ended: what comes of it is being written down, which is a span `settle` of its own. */
  settling(): void;
  /** The outcome is written. With an error the run is marked failed. */
  end(end: ProcessEnd): void;
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
  const attributes = messagingAttributes(SPANS.process, task);
  attributes[ATTR.consumerGroup] = CONSUMER_GROUP;
  attributes[ATTR.attempt] = task.attempt;
  attributes[ATTR.hop] = task.hop;
  attributes[ATTR.delivery] = task.delivery;
  // From the root: the worker's own context is not where the task comes from.
  const base = contextOf(ROOT_CONTEXT, parent);
  const span = tracer.startSpan(`process ${task.queue}`, { kind: SPANS.process.kind, attributes }, base);
  return new SpannedProcess(tracer, span, base, task);
}

/** A batch that a handler works on. */
export interface ActiveBatch {
  /** Calls `fn` with the batch's span as the active one. */
  run<T>(fn: () => T): T;
  /** Ends the span; with an error it is marked failed. */
  end(error?: unknown): void;
}

/** Begins a span of its own for a batch, with links between it and the span of each task in it. Without an SDK there is none. */
export function startBatch(queue: string, type: string, tasks: readonly ActiveProcess[]): ActiveBatch | undefined {
  const tracer = activeTracer();
  if (!tracer) return undefined;
  const spanned = tasks.filter((task) => task instanceof SpannedProcess);
  const links = spanned.map(({ spanContext }) => ({ context: spanContext }));
  const spec = SPANS.processBatch;
  const attributes = {
    [ATTR.system]: SYSTEM,
    [ATTR.systemDeprecated]: SYSTEM,
    [ATTR.operationName]: spec.operation,
    [ATTR.operationType]: spec.type,
    [ATTR.destination]: queue,
    [ATTR.type]: type,
    [ATTR.batchSize]: tasks.length,
  };
  const span = tracer.startSpan(`${spec.operation} ${queue}`, { kind: spec.kind, attributes, links }, ROOT_CONTEXT);
  for (const task of spanned) task.joins(span.spanContext());
  return new SpannedBatch(span);
}

class SpannedBatch implements ActiveBatch {
  constructor(private readonly span: Span) {}

  run<T>(fn: () => T): T {
    return context.with(trace.setSpan(ROOT_CONTEXT, this.span), fn);
  }

  end(error?: unknown): void {
    if (error !== undefined) markFailed(this.span, error);
    this.span.end();
  }
}

class PassiveProcess implements ActiveProcess {
  constructor(private readonly traceparent: string | undefined) {}

  get traceId(): string | undefined {
    return traceIdOf(this.traceparent);
  }

  run<T>(fn: () => T): T {
    return fn();
  }

  settling(): void {}

  end(): void {}
}

class SpannedProcess implements ActiveProcess {
  readonly traceId: string;
  private settle: Span | undefined;

  constructor(
    private readonly tracer: Tracer,
    private readonly span: Span,
    private readonly base: Context,
    private readonly task: ProcessedTask,
  ) {
    this.traceId = span.spanContext().traceId;
  }

  get spanContext(): SpanContext {
    return this.span.spanContext();
  }

  /** The batch is a trace of its own: the link, and the attribute where a back end does not show links, lead there. */
  joins(batch: SpanContext): void {
    this.span.addLink({ context: batch });
    this.span.setAttribute(ATTR.batchTrace, batch.traceId);
  }

  run<T>(fn: () => T): T {
    return context.with(trace.setSpan(this.base, this.span), fn);
  }

  /** A run that is not sampled is spared the second span: its sampler has decided for both. */
  settling(): void {
    if (!this.span.isRecording() || this.settle) return;
    const { operation, kind } = SPANS.settle;
    const options = { kind, attributes: messagingAttributes(SPANS.settle, this.task) };
    this.settle = this.tracer.startSpan(`${operation} ${this.task.queue}`, options, trace.setSpan(this.base, this.span));
  }

  end({ outcome, error, delayMs, moments }: ProcessEnd): void {
    if (this.span.isRecording()) {
      this.settle?.setAttributes({ [ATTR.outcome]: outcome, ...(delayMs === undefined ? {} : { [ATTR.delay]: Math.round(delayMs) }) });
      this.settle?.end();
      this.span.setAttribute(ATTR.outcome, outcome);
      if (error !== undefined) markFailed(this.span, error);
      eachHop(moments(), (hop, at, lengthMs) => {
        this.span.addEvent(hop, lengthMs === undefined ? {} : { [ATTR.hopSeconds]: lengthMs / 1000 }, at);
      });
    }
    this.span.end();
  }
}
