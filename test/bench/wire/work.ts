import type { Msg } from '@nats-io/transport-node';
import { names } from './admin.js';
import type { WireLink } from './link.js';
import { storedNew } from './publish.js';
import { recordBody, recordHeaders } from './task.js';

/** Tasks pulled or in hand at any time. */
const OUTSTANDING = 1024;
/** Free places that are worth a pull of their own. */
const REFILL = 256;
const ACK = new TextEncoder().encode('+ACK');
const WORKER = `bench-host-${process.pid}-ab12`;
const EXPIRES_NANOS = 5_000_000_000;

/** The bare worker: raw pulls, then for each task its record, the record's PubAck and the ack (or, keeping none, just the ack). */
export class WireWorker {
  /** When the first task arrived, on the clock of `performance.now()`. */
  firstAt = 0;
  failure: Error | undefined;
  private free = OUTSTANDING;
  private readonly inbox = `_INBOX.work.${Math.random().toString(36).slice(2)}`;
  private readonly next: string;
  private readonly taskPrefix: string;
  private readonly statePrefix: string;

  constructor(
    private readonly link: WireLink,
    namespace: string,
    private readonly keepRecords: boolean,
  ) {
    const { laneStream, consumer, taskPrefix, statePrefix } = names(namespace);
    this.next = `$JS.API.CONSUMER.MSG.NEXT.${laneStream}.${consumer}`;
    this.taskPrefix = taskPrefix;
    this.statePrefix = statePrefix;
  }

  start(): void {
    this.link.nc.subscribe(this.inbox, { callback: (_error, msg) => this.receive(msg) });
    this.pull();
  }

  private pull(): void {
    this.link.nc.publish(this.next, JSON.stringify({ batch: this.free, expires: EXPIRES_NANOS }), { reply: this.inbox });
    this.free = 0;
  }

  private receive(msg: Msg): void {
    const { reply } = msg;
    if (this.firstAt === 0) this.firstAt = performance.now();
    if (!reply) this.pullEnded(msg);
    else if (this.keepRecords) this.keep(msg, reply);
    else this.settled(reply);
  }

  private keep(msg: Msg, reply: string): void {
    const fetched = Date.now();
    const key = msg.subject.slice(this.taskPrefix.length);
    this.link.send(this.statePrefix + key, this.record(key, msg, reply, fetched), recordHeaders, (ack) => {
      if (storedNew(ack.data)) this.settled(reply);
      else this.failure ??= new Error(`record not stored: ${ack.string()}`);
    });
  }

  private settled(reply: string): void {
    this.link.nc.publish(reply, ACK);
    this.free += 1;
    if (this.free >= REFILL) this.pull();
  }

  /** A frame without a reply subject ends a pull and says how many of its messages were not delivered. */
  private pullEnded(frame: Msg): void {
    const code = frame.headers?.code;
    if (code !== 408 && code !== 404) this.failure ??= new Error(`pull ended with ${code} ${frame.headers?.description}`);
    this.free += Number(frame.headers?.get('Nats-Pending-Messages') || 0);
    if (this.free >= REFILL) this.pull();
  }

  private record(key: string, msg: Msg, reply: string, fetched: number): Uint8Array {
    const block = headerBlock(msg);
    const traceparent = headerValue(block, 'traceparent: ');
    return recordBody({
      key,
      type: headerValue(block, 'Task-Type: '),
      created: headerValue(block, 'Task-Created-At: '),
      stored: storedAt(reply),
      fetched,
      started: fetched,
      finished: Date.now(),
      worker: WORKER,
      trace: traceparent.slice(3, 35),
    });
  }
}

/**
 * The header block as text. The public `headers` of a message parses every line into a map, at several times the price, so this reaches
 * for the bytes that the client holds.
 */
function headerBlock(msg: Msg): string {
  const { _rdata, _msg } = msg as unknown as { _rdata: Uint8Array; _msg: { hdr: number } };
  return Buffer.from(_rdata.buffer, _rdata.byteOffset, _msg.hdr).toString('latin1');
}

function headerValue(block: string, name: string): string {
  const start = block.indexOf(name) + name.length;
  return block.slice(start, block.indexOf('\r\n', start));
}

/** Milliseconds of the stream's own timestamp: the last token but one of `$JS.ACK.<stream>.<consumer>.<n>.<seq>.<seq>.<nanos>.<pending>`. */
function storedAt(reply: string): string {
  const end = reply.lastIndexOf('.');
  return reply.slice(reply.lastIndexOf('.', end - 1) + 1, end - 6);
}
