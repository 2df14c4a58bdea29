import type { Span } from '@opentelemetry/api';
import { ATTR } from './conventions.js';

/** Notes an error on a span: the exception event and the low-cardinality `error.type` (its code, else its class). */
export function recordError(span: Span, error: unknown): void {
  const code = (error as { code?: unknown } | null)?.code;
  span.setAttribute(ATTR.errorType, typeof code === 'string' ? code : error instanceof Error ? error.name : '_OTHER');
  span.recordException(error instanceof Error ? error : String(error));
}
