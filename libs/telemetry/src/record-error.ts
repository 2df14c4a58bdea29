import { type Span, SpanStatusCode } from '@opentelemetry/api';
import { ATTR } from './conventions.js';

/**
 * Marks a span as failed: status, exception event and the low-cardinality `error.type` (the error's code, else its class). Handlers throw
 * anything, also values that throw when they are read.
 */
export function markFailed(span: Span, error: unknown): void {
  try {
    recordError(span, error);
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
  } catch {
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
}

function recordError(span: Span, error: unknown): void {
  const code = (error as { code?: unknown } | null)?.code;
  span.setAttribute(ATTR.errorType, typeof code === 'string' ? code : error instanceof Error ? error.name : '_OTHER');
  span.recordException(error instanceof Error ? error : String(error));
}
