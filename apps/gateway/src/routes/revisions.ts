import { JetlaneError } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';

type Headers = Pick<FastifyRequest, 'headers'>;

/** The entity tag of a revision. */
const tagOf = (revision: number): string => `"${revision}"`;

/**
 * The revision that `If-Match` names; `undefined` without the header, or with `*`.
 * @throws JetlaneError `invalid-argument` for what is no single entity tag of ours
 */
export function ifMatch({ headers }: Headers): number | undefined {
  const given = headers['if-match'];
  if (given === undefined || given.trim() === '*') return undefined;
  const revision = /^\s*"(\d{1,15})"\s*$/.exec(given)?.[1];
  if (revision !== undefined) return Number(revision);
  const message = 'expected one entity tag as ETag gave it, such as "17", or *';
  throw new JetlaneError('invalid-argument', `If-Match: ${message}`, { details: { issues: [{ path: 'If-Match', message }] } });
}

/** The revision of the input: the field, `If-Match`, or 0 for `If-None-Match: *`. @throws JetlaneError `invalid-argument` when they differ */
export function withRevision(request: Headers, input: Readonly<Record<string, unknown>>): Record<string, unknown> {
  // Of a change the other condition means: only if there is none yet.
  const revision = ifMatch(request) ?? (request.headers['if-none-match']?.trim() === '*' ? 0 : undefined);
  if (revision === undefined) return { ...input };
  if (input.revision !== undefined && Number(input.revision) !== revision) {
    const message = 'differs from "revision"; give one of them';
    throw new JetlaneError('invalid-argument', `If-Match: ${message}`, { details: { issues: [{ path: 'If-Match', message }] } });
  }
  return { ...input, revision };
}

/** A lost compare-and-set is "precondition failed" to who named the revision in a header (RFC 9110, 13.1.1), a conflict to others. */
export function asPrecondition(request: Headers, error: unknown): unknown {
  const named = request.headers['if-match'] !== undefined;
  if (!named || !(error instanceof JetlaneError) || error.code !== 'wrong-sequence') return error;
  return new JetlaneError('revision-conflict', error.message, { details: error.details, cause: error });
}

/** Sends the revision of an answer as its entity tag; true when the caller has it already and gets 304 (RFC 9110, 13.1.2). */
export function tagAnswer(request: FastifyRequest, reply: FastifyReply, revision: number): boolean {
  const tag = tagOf(revision);
  reply.header('etag', tag);
  if (request.method !== 'GET') return false;
  const known = (request.headers['if-none-match'] ?? '').split(',').map((item) => item.trim().replace(/^W\//, ''));
  return known.includes(tag) || known.includes('*');
}
