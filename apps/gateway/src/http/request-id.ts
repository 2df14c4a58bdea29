import type { IncomingMessage } from 'node:http';
import { keySource } from '@jetlane/protocol';

const LEGAL = /^[A-Za-z0-9._-]{1,64}$/;

/** A source of request ids: the caller's `X-Request-Id` where it is a legal one, else a new id. */
export function requestIds(): (request: Pick<IncomingMessage, 'headers'>) => string {
  const next = keySource();
  return ({ headers }) => {
    const given = headers['x-request-id'];
    return typeof given === 'string' && LEGAL.test(given) ? given : next();
  };
}
