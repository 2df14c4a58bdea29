import type { FastifyReply } from 'fastify';

/** Headers of every answer: data is not a page, is not cached, and is not framed. */
const API_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
};

const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/** Swagger UI writes style attributes and a style element; its scripts are files. */
const DOCS_POLICY = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'");

/** Content security policy of a path, where it is not that of data. */
export function setSecurityHeaders(path: string, reply: FastifyReply): void {
  reply.headers(API_HEADERS);
  if (path.startsWith('/api/') || path.startsWith('/health')) return;
  reply.header('content-security-policy', path.startsWith('/docs') ? DOCS_POLICY : PAGE_POLICY);
  reply.header('cross-origin-opener-policy', 'same-origin');
}
