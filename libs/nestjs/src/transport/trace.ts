import type { HeaderPair } from '@jetlane/protocol';
import { HEADER, traceOf } from '@jetlane/protocol';
import { contextOf, formatTraceparent, isTraceparent } from '@jetlane/telemetry';
import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api';

/** Headers that carry the active trace on, as W3C Trace Context, whatever propagator the application has. */
export function traceHeaders(): HeaderPair[] {
  const active = trace.getActiveSpan()?.spanContext();
  if (!active || !trace.isSpanContextValid(active)) return [];
  const state = active.traceState?.serialize();
  return [[HEADER.traceparent, formatTraceparent(active)], ...(state ? [[HEADER.tracestate, state] as const] : [])];
}

/** Calls within the trace that the headers name. */
export function withTrace<T>(headers: readonly HeaderPair[], call: () => T): T {
  const carried = traceOf(headers);
  return isTraceparent(carried.traceparent) ? context.with(contextOf(ROOT_CONTEXT, carried), call) : call();
}
