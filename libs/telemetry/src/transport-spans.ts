import { type Attributes, context, ROOT_CONTEXT } from '@opentelemetry/api';
import { type ActiveCall, PassiveCall, SpannedCall } from './active-call.js';
import { ATTR, SYSTEM } from './conventions.js';
import { type ActiveSend, passOn, SpannedSend } from './send-span.js';
import { SERVICE_SPANS } from './spans.js';
import { contextOf, isTraceparent, type TraceHeaders } from './trace-context.js';
import { activeTracer } from './tracer.js';

/** An event on its way into the stream of events. */
export interface EmittedEvent {
  readonly subject: string;
  readonly id: string;
}

/** A delivered event that a handler begins to work on. */
export interface HandledEvent {
  /** The pattern that took it: what spans are named after, since subjects may hold ids. */
  readonly pattern: string;
  readonly subject: string;
  readonly id: string | undefined;
  /** The durable consumer that delivered it. */
  readonly reader: string;
  readonly attempt: number;
}

/** Begins a PRODUCER span `send <subject>`, as {@link startSend} does for a task. */
export function startEmit({ subject, id }: EmittedEvent, parent: TraceHeaders): ActiveSend {
  const tracer = activeTracer();
  if (!tracer) return passOn(parent);
  const attributes = eventAttributes('send', subject, id);
  const options = { kind: SERVICE_SPANS.emit.kind, attributes };
  return new SpannedSend(tracer.startSpan(`send ${subject}`, options, contextOf(context.active(), parent)));
}

/**
 * Begins a CONSUMER span `process <pattern>`, child of the span that the event's headers name. Without an SDK there is no span, and the
 * handler runs in the context of whoever emitted the event.
 * @param event tells about the event; called when there is a span to describe it
 */
export function startEvent(event: () => HandledEvent, parent: TraceHeaders): ActiveCall {
  const tracer = activeTracer();
  if (!tracer) return new PassiveCall(parent);
  const { pattern, subject, id, reader, attempt } = event();
  const attributes = {
    ...eventAttributes('process', subject, id),
    [ATTR.destinationTemplate]: pattern,
    [ATTR.consumerGroup]: reader,
    [ATTR.eventAttempt]: attempt,
  };
  const base = contextOf(ROOT_CONTEXT, parent);
  const span = tracer.startSpan(`process ${pattern}`, { kind: SERVICE_SPANS.event.kind, attributes }, base);
  return new SpannedCall(span, base, ATTR.eventOutcome);
}

/** Begins a CLIENT span of a request, named after its method. Without an SDK as {@link startEmit}. */
export function startRequest(method: string, parent: TraceHeaders): ActiveSend {
  const tracer = activeTracer();
  if (!tracer) return passOn(parent);
  const options = { kind: SERVICE_SPANS.ask.kind, attributes: requestAttributes(method) };
  return new SpannedSend(tracer.startSpan(method, options, contextOf(context.active(), parent)));
}

/**
 * Begins a SERVER span of a request, child of the span that its headers name. Without an SDK as {@link startEvent}.
 * @param begins whether a request without a trace begins one
 */
export function startAnswer(method: string, parent: TraceHeaders, begins: boolean): ActiveCall {
  const tracer = activeTracer();
  if (!tracer || !(begins || isTraceparent(parent.traceparent))) return new PassiveCall(parent);
  const base = contextOf(ROOT_CONTEXT, parent);
  const options = { kind: SERVICE_SPANS.answer.kind, attributes: requestAttributes(method) };
  return new SpannedCall(tracer.startSpan(method, options, base), base);
}

const eventAttributes = (operation: 'send' | 'process', subject: string, id: string | undefined): Attributes => ({
  [ATTR.system]: SYSTEM,
  [ATTR.systemDeprecated]: SYSTEM,
  [ATTR.operationName]: operation,
  [ATTR.operationType]: operation,
  [ATTR.destination]: subject,
  [ATTR.messageId]: id,
});

const requestAttributes = (method: string): Attributes => ({ [ATTR.rpcSystem]: SYSTEM, [ATTR.rpcMethod]: method });
