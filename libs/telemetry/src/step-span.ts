import { ROOT_CONTEXT } from '@opentelemetry/api';
import { ATTR } from './conventions.js';
import { messagingAttributes, type SpannedTask } from './messaging-attributes.js';
import { SPANS } from './spans.js';
import { contextOf, isTraceparent, type TraceHeaders } from './trace-context.js';
import { activeTracer } from './tracer.js';

/** A step of a task that is neither its send nor its run, told when it is done. */
export interface TaskStep extends SpannedTask {
  readonly step: 'move' | 'bury' | 'redrive';
  /** Hop of the task after the step. */
  readonly hop: number;
  readonly outcome: string;
  /** When the step began, ms since 1970. */
  readonly startedAt: number;
  /** When the message that it is about was stored, ms since 1970. */
  readonly storedAt?: number;
}

/**
 * Makes a span of a step, from its beginning until now, child of the span that the task's headers name. A task without a trace gets
 * none by being moved.
 * @param step tells about it; called when there is a span to describe it
 */
export function noteStep(step: () => TaskStep, parent: TraceHeaders): void {
  if (!isTraceparent(parent.traceparent)) return;
  const tracer = activeTracer();
  if (!tracer) return;
  const { step: name, hop, outcome, startedAt, storedAt, ...task } = step();
  const spec = SPANS[name];
  const attributes = { ...messagingAttributes(spec, task), [ATTR.hop]: hop, [ATTR.outcome]: outcome };
  const options = { kind: spec.kind, attributes, startTime: startedAt };
  const span = tracer.startSpan(`${spec.operation} ${task.queue}`, options, contextOf(ROOT_CONTEXT, parent));
  if (storedAt !== undefined) span.addEvent('stored', { [ATTR.hopSeconds]: Math.max(0, startedAt - storedAt) / 1000 }, storedAt);
  span.end();
}
