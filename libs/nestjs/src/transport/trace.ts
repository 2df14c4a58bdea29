import type { HeaderPair } from '@jetlane/protocol';
import { HEADER, withHeaders } from '@jetlane/protocol';
import type { ActiveSend } from '@jetlane/telemetry';

/** Headers with those that carry the trace on, as W3C Trace Context, whatever propagator the application has. */
export function withTrace(headers: readonly HeaderPair[], { traceparent, tracestate }: ActiveSend): HeaderPair[] {
  return withHeaders(headers, { [HEADER.traceparent]: traceparent, [HEADER.tracestate]: tracestate || undefined });
}

/** Does what a send stands for, and ends its span. */
export async function during<T>(send: ActiveSend, work: () => Promise<T>): Promise<T> {
  try {
    const done = await work();
    send.end();
    return done;
  } catch (error) {
    send.end(error);
    throw error;
  }
}
