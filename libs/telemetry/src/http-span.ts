import { ROOT_CONTEXT, type Span, SpanStatusCode } from '@opentelemetry/api';
import { ATTR } from './conventions.js';
import { SERVICE_SPANS } from './spans.js';
import { contextOf, formatTraceparent, type TraceHeaders } from './trace-context.js';
import { activeTracer } from './tracer.js';

/** A request as its span tells of it. */
export interface HttpRequest {
  readonly method: string;
  /** The route's template, such as `/api/v1/queues/:name`. */
  readonly route: string;
  /** Without the query, which may hold what does not belong into traces. */
  readonly path: string;
  readonly scheme: string;
}

/** A request that is being answered; its headers are those of its span, for what is to become a child of it. */
export interface ActiveHttp extends TraceHeaders {
  /** Ends the span. @param status of the answer; `undefined` when the caller was gone before there was one */
  end(status: number | undefined): void;
}

/**
 * Begins a SERVER span `<METHOD> <route>`, child of the span that the caller's headers name. It is never the active span: where no context
 * travels with promises, {@link ActiveHttp} is handed on instead. Without an SDK `undefined`.
 */
export function startHttp({ method, route, path, scheme }: HttpRequest, caller: TraceHeaders): ActiveHttp | undefined {
  const attributes = { [ATTR.httpMethod]: method, [ATTR.httpRoute]: route, [ATTR.urlPath]: path, [ATTR.urlScheme]: scheme };
  const options = { kind: SERVICE_SPANS.http.kind, attributes };
  const span = activeTracer()?.startSpan(`${method} ${route}`, options, contextOf(ROOT_CONTEXT, caller));
  return span && new SpannedHttp(span);
}

class SpannedHttp implements ActiveHttp {
  constructor(private readonly span: Span) {}

  get traceparent(): string {
    return formatTraceparent(this.span.spanContext());
  }

  /** Empty when there is none. */
  get tracestate(): string {
    return this.span.spanContext().traceState?.serialize() ?? '';
  }

  end(status: number | undefined): void {
    if (status !== undefined) this.span.setAttribute(ATTR.httpStatus, status);
    // What is the caller's fault is no error of the server's, by the conventions.
    if (status === undefined || status >= 500) {
      this.span.setAttribute(ATTR.errorType, status === undefined ? 'aborted' : String(status));
      this.span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.span.end();
  }
}
