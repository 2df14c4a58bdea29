import type { HeaderPair } from '@jetlane/protocol';
import { HEADER, headerValue } from '@jetlane/protocol';
import { formatTraceparent } from '@jetlane/telemetry';
import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';

/** Headers that carry the active trace on. */
export function traceHeaders(): HeaderPair[] {
  const active = trace.getActiveSpan()?.spanContext();
  return active && trace.isSpanContextValid(active) ? [[HEADER.traceparent, formatTraceparent(active)]] : [];
}

/** Calls within the trace that the headers name. */
export function withTrace<T>(headers: readonly HeaderPair[], call: () => T): T {
  const traceparent = headerValue(headers, HEADER.traceparent);
  if (traceparent === undefined) return call();
  const tracestate = headerValue(headers, HEADER.tracestate);
  return context.with(propagation.extract(ROOT_CONTEXT, { traceparent, ...(tracestate ? { tracestate } : {}) }), call);
}
