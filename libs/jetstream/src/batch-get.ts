import { decodeHeaders, headerValue, JetlaneError } from '@jetlane/protocol';
import { createInbox, type Msg } from '@nats-io/nats-core';
import type { Connection } from './connection.js';
import type { StoredMessage } from './stored.js';
import { headerBlock, statusCode, statusText } from './wire-message.js';

/** Which messages of a stream to read. */
export interface BatchRequest {
  readonly stream: string;
  /** Only messages whose subject matches. */
  readonly subject: string;
  /** First sequence. */
  readonly from: number;
  /** Most messages. */
  readonly batch: number;
}

const SILENCE_MS = 3000;
const SCAN_BATCH = 512;
/** How often the end of a stream is asked for once more, and after how long: a replica may lag. */
const LOOKS_BEHIND_END = 2;
const LAG_MS = 50;

/**
 * Takes the messages of one answer by direct get, from any replica, in the stream's order; resolves with how many are left
 * behind it. @throws JetlaneError `request-timeout`, `no-responders`, `jetstream-api`
 */
export function batchGet(connection: Connection, request: BatchRequest, take: (message: StoredMessage) => void): Promise<number> {
  const nats = connection.raw();
  const { stream, subject, from, batch } = request;
  return new Promise((resolve, reject) => {
    let previous = 0;
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      subscription.unsubscribe();
      settle();
    };
    const timer = setTimeout(
      () => finish(() => reject(new JetlaneError('request-timeout', `stream "${stream}" did not answer within ${SILENCE_MS} ms`))),
      SILENCE_MS,
    );
    const subscription = nats.subscribe(createInbox(), {
      callback: (error, message) => {
        if (error) return finish(() => reject(error));
        timer.refresh();
        const block = headerBlock(message);
        if (statusCode(block) !== 0) return finish(() => endOf(stream, block, resolve, reject));
        const stored = readStored(block, message);
        // A message lost on the way (a link that broke): take what came in order, and ask again from there.
        if (stored.last !== previous) return finish(() => resolve(1));
        previous = stored.message.sequence;
        take(stored.message);
      },
    });
    nats.publish(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ seq: from, next_by_subj: subject, batch }), {
      reply: subscription.getSubject(),
    });
  });
}

/**
 * All messages that match, batch by batch, up to a sequence; about 40,000 a second, whatever matches. What is stored while it reads
 * may be among them.
 */
export async function* scanStream(
  connection: Connection,
  stream: string,
  subject: string,
  upTo = Number.POSITIVE_INFINITY,
): AsyncGenerator<StoredMessage> {
  let from = 1;
  for (let ends = 0; from <= upTo && ends <= LOOKS_BEHIND_END; ) {
    const found: StoredMessage[] = [];
    const left = await batchGet(connection, { stream, subject, from, batch: SCAN_BATCH }, (message) => found.push(message));
    for (const message of found) if (message.sequence <= upTo) yield message;
    from = (found.at(-1)?.sequence ?? from - 1) + 1;
    if (left > 0) continue;
    ends++;
    await new Promise((resolve) => setTimeout(resolve, LAG_MS));
  }
}

function endOf(stream: string, block: string, resolve: (left: number) => void, reject: (error: Error) => void): void {
  const code = statusCode(block);
  if (code === 204) resolve(Number(headerValue(decodeHeaders(block), 'Nats-Num-Pending') ?? 0));
  else if (code === 404) resolve(0);
  else if (code === 503) reject(new JetlaneError('no-responders', `stream "${stream}" does not answer; is it provisioned?`));
  else reject(new JetlaneError('jetstream-api', `stream "${stream}" cannot be read: ${code} ${statusText(block)}`));
}

function readStored(block: string, message: Msg): { message: StoredMessage; last: number } {
  const headers = decodeHeaders(block);
  return {
    message: {
      subject: headerValue(headers, 'Nats-Subject') ?? '',
      sequence: Number(headerValue(headers, 'Nats-Sequence')),
      storedAt: Date.parse(headerValue(headers, 'Nats-Time-Stamp') ?? ''),
      headers,
      data: message.data,
    },
    last: Number(headerValue(headers, 'Nats-Last-Sequence') ?? 0),
  };
}
