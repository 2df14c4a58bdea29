import { type Connection, type Delivery, directGetSequence, type StoredMessage } from '@jetlane/jetstream';
import {
  decodeHeaders,
  encodeHeaders,
  HEADER,
  type HeaderPair,
  headerValue,
  JetlaneError,
  stripServerHeaders,
  withHeaders,
} from '@jetlane/protocol';
import type { Outcome } from '@jetlane/worker';

/** Headers of a dead event beside the event's own and those of {@link HEADER}. */
const EVENT = { subject: 'Event-Subject', attempts: 'Event-Attempts', bodyCut: 'Event-Body-Cut' } as const;
/** What stays of an event's own headers when not all fit. */
const ESSENTIAL: ReadonlySet<string> = new Set([
  HEADER.contentType,
  HEADER.traceparent,
  HEADER.tracestate,
  HEADER.deadReason,
  HEADER.deadError,
  ...Object.values(EVENT),
]);
const LONGEST_ESSENTIAL = 1000;
const EMPTY = new Uint8Array(0);

/** An event that is given up, by whom and why. */
export interface GivenUp {
  readonly reader: string;
  readonly subject: string;
  readonly delivery: Delivery;
  readonly outcome: Extract<Outcome, { kind: 'dead' }>;
}

/**
 * Stores a dead event. What does not fit beside the body gives way: first whatever is not essential, then the body itself, which the stream of
 * events still has: a dead event that cannot be stored would come again for ever.
 */
export async function storeDeadEvent(connection: Connection, given: GivenUp): Promise<void> {
  const { delivery, reader } = given;
  const subject = connection.names.deadEvent(reader, delivery.streamSequence);
  const headers = headersOf(given);
  const forms = [
    () => ({ headers, data: delivery.data }),
    () => ({ headers: essentials(headers), data: delivery.data }),
    () => ({ headers: withHeaders(essentials(headers), { [EVENT.bodyCut]: delivery.data.length }), data: EMPTY }),
  ];
  for (const form of forms) {
    try {
      const letter = form();
      await connection.publish(subject, letter.data, encodeHeaders(letter.headers));
      return;
    } catch (error) {
      if (form === forms.at(-1) || !isTooLarge(error)) throw error;
    }
  }
}

export const isTooLarge = (error: unknown): boolean => error instanceof JetlaneError && error.code === 'payload-too-large';

function headersOf({ delivery, subject, outcome: { reason, error } }: GivenUp): HeaderPair[] {
  return withHeaders(stripServerHeaders(delivery.headers ? decodeHeaders(delivery.headers) : []), {
    [HEADER.deadReason]: reason,
    [HEADER.deadError]: ascii({ ...error, stack: undefined }),
    [EVENT.subject]: subject,
    [EVENT.attempts]: delivery.count,
    [EVENT.bodyCut]: undefined,
  });
}

function essentials(headers: readonly HeaderPair[]): HeaderPair[] {
  const short = headers.map(([name, value]): HeaderPair => (name === HEADER.deadError ? [name, nameOnly(value)] : [name, value]));
  return short.filter(([name, value]) => name === EVENT.subject || (ESSENTIAL.has(name) && value.length <= LONGEST_ESSENTIAL));
}

function nameOnly(error: string): string {
  const { name } = JSON.parse(error) as { name: string };
  return ascii({ name: name.slice(0, 80), message: '' });
}

const ascii = (value: object): string => JSON.stringify(value).replace(/[^\x20-\x7e]/g, escapeCharacter);
const escapeCharacter = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** An error as a dead event keeps it. */
export interface DeadEventError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** What the headers of a dead event tell. What anybody may have written there is `unreadable` when it makes no sense. */
export function readEventHeaders(headers: readonly HeaderPair[]) {
  const subject = headerValue(headers, EVENT.subject) ?? '';
  const written = headerValue(headers, HEADER.deadError);
  const error = written === undefined ? undefined : readError(written);
  const readable = isPlain(subject) && (written === undefined || error !== undefined);
  return {
    subject,
    reason: readable ? headerValue(headers, HEADER.deadReason) : 'unreadable',
    error,
    attempts: Number(headerValue(headers, EVENT.attempts)) || 0,
    bodyCut: headerValue(headers, EVENT.bodyCut) !== undefined,
  };
}

/** Whether an event can be published there. */
export const isPlain = (subject: string): boolean => subject.split('.').every((token) => /^[^\s\p{Cc}*>]+$/u.test(token));

function readError(text: string): DeadEventError | undefined {
  try {
    const error = JSON.parse(text) as Partial<DeadEventError> | null;
    return typeof error?.name === 'string' && typeof error.message === 'string' ? (error as DeadEventError) : undefined;
  } catch {
    return undefined;
  }
}

/** The event's own headers again. */
export const eventHeaders = (headers: readonly HeaderPair[]): HeaderPair[] =>
  withHeaders(stripServerHeaders(headers), {
    [HEADER.deadReason]: undefined,
    [HEADER.deadError]: undefined,
    ...Object.fromEntries(Object.values(EVENT).map((name) => [name, undefined])),
  });

/** The event's body, of a letter that was cut from the stream of events; `undefined` when that has forgotten it. */
export async function eventBody(connection: Connection, letter: StoredMessage): Promise<Uint8Array | undefined> {
  if (!readEventHeaders(letter.headers).bodyCut) return letter.data;
  const { names } = connection;
  return (await directGetSequence(connection, names.events, Number(names.tokens(letter.subject)[1])))?.data;
}
