import { type Context, createTraceState, type SpanContext, trace } from '@opentelemetry/api';

/** A task's place in a trace, as its headers carry it (W3C Trace Context). */
export interface TraceHeaders {
  readonly traceparent?: string;
  readonly tracestate?: string;
}

const FORM = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);

/** The `traceparent` of a span. */
export function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags < 16 ? '0' : ''}${traceFlags.toString(16)}`;
}

/** True for a `traceparent` of version 00 whose ids are not all zeros. */
export const isTraceparent = (text: string | undefined): text is string =>
  text !== undefined && FORM.test(text) && !text.startsWith(NO_TRACE, 3) && !text.startsWith(NO_SPAN, 36);

/** Trace id of a valid `traceparent`, else `undefined`. */
export const traceIdOf = (text: string | undefined): string | undefined => (isTraceparent(text) ? text.slice(3, 35) : undefined);

/** `base` with the span that the headers name as its current one; `base` itself when they name none. */
export function contextOf(base: Context, headers: TraceHeaders): Context {
  const { traceparent, tracestate } = headers;
  if (!isTraceparent(traceparent)) return base;
  return trace.setSpanContext(base, {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number.parseInt(traceparent.slice(53), 16),
    isRemote: true,
    ...(tracestate ? { traceState: createTraceState(tracestate) } : {}),
  });
}
