import { createHash } from 'node:crypto';
import { JetlaneError } from '@jetlane/protocol';
import { transformPatternToRoute } from '@nestjs/microservices/utils/index.js';

/** Anything that NestJS takes as a pattern. */
export type Pattern = Parameters<typeof transformPatternToRoute>[0];

const MOST_CHARACTERS = 200;

/**
 * The subject that a pattern stands for; objects are written as NestJS does.
 * @throws JetlaneError `invalid-argument` for what cannot be a subject, and for wildcards where one event or request is meant
 */
export function subjectOf(pattern: Pattern, wildcards: 'allowed' | 'refused'): string {
  const subject = String(transformPatternToRoute(pattern));
  const tokens = subject.split('.');
  const fits = (token: string, index: number) =>
    token !== '' &&
    !/[\s\p{Cc}]/u.test(token) &&
    (!/[*>]/.test(token) || (wildcards === 'allowed' && isWildcard(token, index === tokens.length - 1)));
  if (subject.length <= MOST_CHARACTERS && tokens.every(fits)) return subject;
  const rule = wildcards === 'allowed' ? 'with * for one word and > for the rest' : 'without wildcards';
  throw new JetlaneError(
    'invalid-argument',
    `expected a pattern such as "orders.created", ${rule}; got ${JSON.stringify(subject.slice(0, MOST_CHARACTERS))}`,
    {
      details: { field: 'pattern' },
    },
  );
}

const isWildcard = (token: string, last: boolean): boolean => token === '*' || (token === '>' && last);

/** A request by its full name, as its spans have it: `<service>/<pattern>` where the service is part of the subject. */
export const methodOf = (pattern: string, service: string | undefined): string =>
  service === undefined ? pattern : `${service}/${pattern}`;

/** Name of the durable reader of a pattern in a service: readable, and never the same for two patterns. */
export function readerName(service: string, pattern: string): string {
  const hash = createHash('sha256').update(pattern).digest('hex').slice(0, 8);
  const words = pattern
    .replaceAll('*', 'any')
    .replaceAll('>', 'all')
    .replace(/[^A-Za-z0-9]+/g, '_')
    .slice(0, 60);
  return `${service}-${words}-${hash}`;
}
