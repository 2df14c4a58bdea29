import { createHash, randomBytes } from 'node:crypto';
import { type Connection, directGetBatch, JsonBucket, readBack, type StoredMessage } from '@jetlane/jetstream';
import type { AUDIT_COMMANDS, AuditItem, CommandInput, CommandOutput } from '@jetlane/protocol';

/** One action of an operator, as it is kept. */
export type AuditEntry = Omit<AuditItem, 'id'>;

type Listing = CommandInput<typeof AUDIT_COMMANDS.list>;

const KEEP_MS = 90 * 86_400_000;

/**
 * Who did what, when, and what it was before: kept for 90 days in the bucket `audit`. The key of an entry holds fingerprints of command,
 * caller and target, so the server finds those of one caller without a look at the others, and entries stand in the order of their time.
 */
export class Audit {
  private constructor(
    private readonly connection: Connection,
    private readonly bucket: JsonBucket<AuditEntry>,
  ) {}

  static async open(connection: Connection): Promise<Audit> {
    return new Audit(connection, await JsonBucket.open<AuditEntry>(connection, connection.names.bucket('audit'), 1, KEEP_MS));
  }

  /**
   * Resolves when the entry is stored.
   * @param id tells entries of one moment apart; given twice, the entry is stored once
   */
  async record(entry: AuditEntry, id: string = randomBytes(6).toString('hex')): Promise<void> {
    const { command, caller, target, at } = entry;
    const last = `${at.toString(36).padStart(9, '0')}-${id}`;
    await this.bucket.create([command, caller, target].map(print).concat(last).join('.'), entry);
  }

  /** A page, newest first. What it costs depends on the page, not on how much is kept. */
  async list({ caller, command, target, from = 0, to, limit, before }: Listing): Promise<CommandOutput<typeof AUDIT_COMMANDS.list>> {
    const name = this.connection.names.bucket('audit');
    const stream = `KV_${name}`;
    const { first, end } = await this.bounds(stream, from, to);
    const subject = [`$KV.${name}`, ...[command, caller, target].map((word) => (word === undefined ? '*' : print(word))), '*'].join('.');
    const start = Math.min(before ?? end, end);
    const stored = await readBack(this.connection, stream, { subject, before: start, first, limit: limit + 1 });
    const page = stored.slice(0, limit);
    return { items: page.map(itemOf), ...(stored.length > limit ? { next: page.at(-1)!.sequence } : {}) };
  }

  /** The sequences between two times. */
  private async bounds(stream: string, from: number, to: number | undefined): Promise<{ first: number; end: number }> {
    const { streams } = await this.connection.admin();
    const { state } = await streams.info(stream);
    const first = from <= Date.parse(String(state.first_ts)) ? state.first_seq : await this.sequenceAt(stream, from, state.last_seq + 1);
    return { first, end: to === undefined ? state.last_seq + 1 : await this.sequenceAt(stream, to, state.last_seq + 1) };
  }

  /** The first sequence that was stored at a time or later. */
  private async sequenceAt(stream: string, time: number, none: number): Promise<number> {
    const { messages } = await directGetBatch(this.connection, stream, { subject: '>', from: { time }, batch: 1 });
    return messages[0]?.sequence ?? none;
  }
}

/** Names hold characters that a subject cannot. */
const print = (word: string): string => createHash('sha256').update(word).digest('hex').slice(0, 16);

function itemOf({ subject, data }: StoredMessage): AuditItem {
  return { id: subject.slice(subject.lastIndexOf('.') + 1), ...(JSON.parse(Buffer.from(data).toString()) as AuditEntry) };
}
