import { ERROR_CODES, type ErrorCode, JetlaneError } from '@jetlane/protocol';

/** One field that is wrong. */
export interface FieldProblem {
  /** Path from the body's root, such as `task_data.amount`; empty for the body itself. */
  readonly path: string;
  readonly message: string;
}

/** An RFC 9457 problem document. `code` is stable; `type` is its URN. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly instance: string;
  readonly request_id: string;
  /** The same request may succeed later without a change. */
  readonly retryable: boolean;
  readonly errors?: readonly FieldProblem[];
  readonly suggestion?: string;
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json; charset=utf-8';

const MAX_FIELDS = 50;

/** Fields of the client library by their names in the API. */
const API_FIELDS: Readonly<Record<string, string>> = { type: 'task_type', data: 'task_data', key: 'task_id', lane: 'priority' };

/** What Fastify's own errors mean here. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload-too-large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported-media-type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid-json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid-json',
  FST_ERR_NOT_FOUND: 'unknown-route',
};

const STATUS_CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'unknown-route',
  405: 'unknown-route',
  413: 'payload-too-large',
  415: 'unsupported-media-type',
  503: 'service-unavailable',
};

/**
 * Any thrown value as an error that may be shown. What was not thrown on purpose becomes `internal` and tells nothing
 * about the inside; the cause is for the log.
 */
export function knownError(error: unknown): JetlaneError {
  if (error instanceof JetlaneError) return error;
  const code = codeOf(error);
  if (!code)
    return new JetlaneError('internal', 'the gateway failed at this request; its log tells why, under the request id', { cause: error });
  return new JetlaneError(code, detailOf(code, error as Error), { cause: error });
}

function codeOf(error: unknown): ErrorCode | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, statusCode, status } = error as { code?: unknown; statusCode?: unknown; status?: unknown };
  const known = FASTIFY_CODES[String(code)];
  if (known) return known;
  const http = Number(statusCode ?? status);
  return STATUS_CODES[http] ?? (http >= 400 && http < 500 ? 'invalid-argument' : undefined);
}

function detailOf(code: ErrorCode, error: Error): string {
  switch (code) {
    case 'payload-too-large':
      return 'the body is larger than 1 MiB; store large data elsewhere and send a reference, or send many tasks as application/x-ndjson';
    case 'unsupported-media-type':
      return 'expected a body with content-type application/json';
    case 'unknown-route':
      return 'there is no such route; GET /docs lists all of them';
    default:
      return error.message;
  }
}

/** The problem document of an error. */
export function toProblem(error: JetlaneError, request: { readonly url: string; readonly id: string }): Problem {
  const { status, title } = ERROR_CODES[error.code];
  const errors = fieldsOf(error);
  const { suggestion } = error.details;
  return {
    type: `urn:jetlane:problem:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    instance: pathOf(request.url),
    request_id: request.id,
    retryable: error.retryable,
    ...(errors.length ? { errors } : {}),
    ...(typeof suggestion === 'string' ? { suggestion } : {}),
  };
}

/** The path without the query, which may hold what does not belong into answers and logs. */
export function pathOf(url: string): string {
  const query = url.indexOf('?');
  return (query < 0 ? url : url.slice(0, query)).slice(0, 500);
}

function fieldsOf(error: JetlaneError): FieldProblem[] {
  const { issues, field } = error.details;
  if (Array.isArray(issues)) return (issues as FieldProblem[]).slice(0, MAX_FIELDS).map(({ path, message }) => ({ path, message }));
  return typeof field === 'string' ? [{ path: API_FIELDS[field] ?? field, message: error.message }] : [];
}

/** Seconds after which a retry makes sense, for the header `Retry-After`; `undefined` for errors that do not pass. */
export function retryAfter(error: JetlaneError): number | undefined {
  const { status } = ERROR_CODES[error.code];
  const { retryAfterSeconds } = error.details;
  if (typeof retryAfterSeconds === 'number') return retryAfterSeconds;
  return status === 429 || status === 503 ? 1 : undefined;
}
