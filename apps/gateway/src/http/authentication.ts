import { hash, timingSafeEqual } from 'node:crypto';
import { JetlaneError } from '@jetlane/protocol';
import type { FastifyRequest } from 'fastify';

const digest = (text: string): Buffer => hash('sha256', text, 'buffer');

/**
 * The check of `Authorization: Bearer <key>` or `X-API-Key: <key>`. Without keys everybody may do everything.
 * Digests are compared, all of them, in constant time: neither length nor position of a difference shows in the time taken.
 */
export function authentication(apiKeys: readonly string[]): ((request: FastifyRequest) => void) | undefined {
  if (apiKeys.length === 0) return undefined;
  const known = apiKeys.map(digest);
  return (request) => {
    const presented = presentedKey(request);
    if (presented === undefined)
      throw new JetlaneError('unauthorized', 'an API key is needed: send "Authorization: Bearer <key>" or "X-API-Key: <key>"');
    const given = digest(presented);
    let found = false;
    for (const key of known) found = timingSafeEqual(key, given) || found;
    if (!found) throw new JetlaneError('unauthorized', 'the API key is not known to this gateway');
  };
}

function presentedKey({ headers }: FastifyRequest): string | undefined {
  const apiKey = headers['x-api-key'];
  if (typeof apiKey === 'string') return apiKey;
  const match = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '');
  return match?.[1];
}
