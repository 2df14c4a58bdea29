import { decodeHeaders, headerValue, JetlaneError } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { newInbox } from './denials.js';
import type { StoredMessage } from './stored.js';
import { headerBlock, statusCode, statusText } from './wire-message.js';

/** What to read of a stream. */
export interface BatchRequest {
  /** Only messages whose subject matches. */
  readonly subject: string;
  /** First sequence, or the time from which on messages were stored (ms since 1970). */
  readonly from: { readonly sequence: number } | { readonly time: number };
  /** Most messages. */
  readonly batch: number;
  /** The server ends the answer at about this size; a larger message comes alone. */
  readonly maxBytes?: number;
}

/** One answer, in the stream's order. */
export interface Batch {
  readonly messages: readonly StoredMessage[];
  /** Messages behind the last one that match. */
  readonly pending: number;
}

const SILENCE_MS = 3000;

/**
 * Reads many messages by one question, from any replica. Nothing is kept on the server.
 * @throws JetlaneError `no-responders` when the stream does not exist, `request-timeout`, `permission-denied`, `jetstream-api`
 */
export async function directGetBatch(connection: Connection, stream: string, request: BatchRequest): Promise<Batch> {
  const batch = await ask(connection, stream, request);
  // The first message alone is larger than the size asked for.
  if (batch.messages.length > 0 || batch.pending === 0 || request.maxBytes === undefined) return batch;
  return ask(connection, stream, { ...request, batch: 1, maxBytes: undefined });
}

type Asked = Omit<BatchRequest, 'maxBytes'> & { readonly maxBytes?: number | undefined };

function ask(connection: Connection, stream: string, { subject, from, batch, maxBytes }: Asked): Promise<Batch> {
  const nats = connection.raw();
  const start = 'sequence' in from ? { seq: from.sequence } : { start_time: new Date(from.time).toISOString() };
  return new Promise((resolve, reject) => {
    const messages: StoredMessage[] = [];
    const asked = `$JS.API.DIRECT.GET.${stream}`;
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      forget();
      subscription.unsubscribe();
      settle();
    };
    const late = () => new JetlaneError('request-timeout', `stream "${stream}" did not answer within ${SILENCE_MS} ms`);
    // Throws when the connection is closed: so before the timer begins.
    const subscription = nats.subscribe(newInbox(nats), {
      callback: (error, message) => {
        if (error) return finish(() => reject(error));
        timer.refresh();
        const block = headerBlock(message);
        const code = statusCode(block);
        if (code === 204) return finish(() => resolve({ messages, pending: numberIn(block, 'Nats-Num-Pending') }));
        if (code === 404) return finish(() => resolve({ messages, pending: 0 }));
        if (code !== 0) return finish(() => reject(refused(stream, block)));
        const headers = decodeHeaders(block);
        // A message was lost on the way (a link that broke): what came in order counts, the rest is asked for again.
        const last = messages.at(-1)?.sequence ?? 0;
        if (Number(headerValue(headers, 'Nats-Last-Sequence') ?? last) !== last) return finish(() => resolve({ messages, pending: 1 }));
        messages.push({
          subject: headerValue(headers, 'Nats-Subject') ?? '',
          sequence: Number(headerValue(headers, 'Nats-Sequence')),
          storedAt: Date.parse(headerValue(headers, 'Nats-Time-Stamp') ?? ''),
          headers,
          data: message.data,
        });
      },
    });
    const timer = setTimeout(() => finish(() => reject(late())), SILENCE_MS);
    const forget = connection.denials.on((denial) => {
      if (denial.operation !== 'publish' || denial.subject !== asked) return false;
      finish(() => reject(denial.error));
      return true;
    });
    const question = { ...start, next_by_subj: subject, batch, ...(maxBytes === undefined ? {} : { max_bytes: maxBytes }) };
    nats.publish(asked, JSON.stringify(question), { reply: subscription.getSubject() });
  });
}

/** How many messages from a sequence on match. One small request. */
export async function countFrom(connection: Connection, stream: string, subject: string, sequence: number): Promise<number> {
  const { messages, pending } = await ask(connection, stream, { subject, from: { sequence }, batch: 1 });
  return messages.length + pending;
}

const numberIn = (block: string, name: string): number => Number(headerValue(decodeHeaders(block), name) ?? 0);

function refused(stream: string, block: string): JetlaneError {
  const code = statusCode(block);
  if (code === 503) return new JetlaneError('no-responders', `stream "${stream}" does not answer; is it provisioned?`);
  return new JetlaneError('jetstream-api', `stream "${stream}" cannot be read: ${code} ${statusText(block)}`);
}

const SCAN_BATCH = 512;
/** How often the end of a stream is asked for once more, and after how long: a replica may lag. */
const LOOKS_BEHIND_END = 2;
const LAG_MS = 50;

/** Calls under way at once. */
const WINDOW = 256;

/**
 * Does something with all messages that match, some hundred at a time. When one fails, those beside it are waited for: nothing is under way
 * when this ends, and no failure is left without somebody who hears it.
 * @throws what the first of them threw, or the scan
 */
export async function scanInBatches(
  connection: Connection,
  stream: string,
  subject: string,
  act: (message: StoredMessage) => Promise<unknown>,
): Promise<void> {
  let batch: StoredMessage[] = [];
  const flush = async (): Promise<void> => {
    const ends = await Promise.allSettled(batch.map((message) => act(message)));
    batch = [];
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
  };
  for await (const message of scanStream(connection, stream, subject)) {
    batch.push(message);
    if (batch.length >= WINDOW) await flush();
  }
  await flush();
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
    const { messages, pending } = await directGetBatch(connection, stream, { subject, from: { sequence: from }, batch: SCAN_BATCH });
    for (const message of messages) if (message.sequence <= upTo) yield message;
    from = (messages.at(-1)?.sequence ?? from - 1) + 1;
    if (pending > 0) continue;
    ends++;
    await new Promise((resolve) => setTimeout(resolve, LAG_MS));
  }
}
