import { type Connection, deleteMessage, directGetNext, hopOf, leaderGet, type StoredMessage, TaskStore } from '@jetlane/jetstream';
import {
  type AttemptError,
  DEFAULT_LANE,
  type ErrorRecord,
  formatTaskId,
  HEADER,
  type HeaderPair,
  headerValue,
  isLane,
  isQueueName,
  JetlaneError,
  type Lane,
  parseHistory,
  parseTaskId,
} from '@jetlane/protocol';
import { z } from 'zod';

/** A dead letter as people see it. */
export interface DeadLetter {
  readonly id: string;
  readonly queue: string;
  readonly lane: Lane;
  readonly type?: string;
  readonly group?: string;
  readonly hop: number;
  readonly attempt: number;
  readonly reason: string;
  readonly error?: ErrorRecord;
  readonly history: readonly AttemptError[];
  readonly fingerprint?: string;
  /** When it was given up, ms since 1970. */
  readonly deadAt: number;
  /** Stream and sequence it came from. */
  readonly source?: string;
  readonly bytes: number;
}

/** With its payload: JSON as a value, anything else in base64. */
export type DeadLetterDetail = DeadLetter & { readonly contentType: string } & ({ readonly data: unknown } | { readonly base64: string });

const listInput = z.strictObject({
  queue: z.string().refine(isQueueName, 'expected a queue name').optional(),
  limit: z.int().min(1).max(1000).default(100),
  after: z.int().min(0).default(0).describe('`next` of the page before.'),
});
const idInput = z.strictObject({ id: z.string() });

/** Reads dead letters and sends them back. */
export class DeadLetters {
  private readonly store: TaskStore;

  constructor(private readonly connection: Connection) {
    this.store = new TaskStore(connection);
  }

  /** A page, oldest first. `next` is there when there may be more. */
  async list(input: unknown): Promise<{ items: DeadLetter[]; next?: number }> {
    const { queue, limit, after } = check(listInput, input ?? {});
    const { names } = this.connection;
    const items: DeadLetter[] = [];
    let last = after;
    while (items.length < limit) {
      const stored = await directGetNext(
        this.connection,
        names.deadLetters,
        last + 1,
        queue ? names.dead(queue, '*') : names.pattern('dead.>'),
      );
      if (!stored) return { items };
      last = stored.sequence;
      items.push(this.read(stored));
    }
    return { items, next: last };
  }

  /** @throws JetlaneError `task-not-found` */
  async get(input: unknown): Promise<DeadLetterDetail> {
    const stored = await this.find(check(idInput, input).id);
    const contentType = headerValue(stored.headers, HEADER.contentType) ?? 'application/json';
    return { ...this.read(stored), contentType, ...payload(stored.data, contentType) };
  }

  /**
   * Sends a dead letter back to its lane under the next hop, with its attempts reset and its history kept.
   *
   * Crash before the publish: nothing happened. Between publish and delete: the letter stands beside a task of a higher
   * hop; the next redrive finds that task, or what became of it, and only deletes. The letter is deleted by its sequence,
   * so a later death of the same task, which replaced it, stays. Test: resiliency.spec "redrive".
   * @throws JetlaneError `task-not-found`; QueueFullError, then the letter stays
   */
  async redrive(input: unknown): Promise<{ id: string; hop: number; lane: Lane; duplicate: boolean }> {
    const { id } = check(idInput, input);
    const { queue, key } = parseTaskId(id);
    const letter = await this.find(id);
    const hop = hopOf(letter) + 1;
    const { lane } = this.read(letter);
    let duplicate = await this.wasRedriven(queue, key, hop);
    if (!duplicate) {
      const ack = await this.store.publishTask(queue, lane, key, { headers: livingHeaders(letter.headers), data: letter.data, hop });
      duplicate = ack.duplicate === true;
      if (duplicate && !(await this.wasRedriven(queue, key, hop))) {
        throw new JetlaneError('publish-timeout', `task "${id}" was sent back a moment ago and cannot be seen; try again in a minute`, {
          details: { id },
        });
      }
    }
    await deleteMessage(this.connection, this.connection.names.deadLetters, letter.sequence);
    return { id, hop, lane, duplicate };
  }

  private async wasRedriven(queue: string, key: string, hop: number): Promise<boolean> {
    const traces = await this.store.traces(queue, key, leaderGet);
    return traces.copies.some((copy) => copy.hop >= hop) || (traces.record?.hop ?? 0) >= hop;
  }

  private async find(id: string): Promise<StoredMessage> {
    const { queue, key } = parseTaskId(id);
    const { names } = this.connection;
    const stored = await leaderGet(this.connection, names.deadLetters, names.dead(queue, key));
    if (!stored) throw new JetlaneError('task-not-found', `there is no dead letter of task "${id}"`, { details: { id } });
    return stored;
  }

  private read(stored: StoredMessage): DeadLetter {
    const { names } = this.connection;
    const [queue = '', key = ''] = names.tokens(stored.subject);
    const header = (name: string) => headerValue(stored.headers, name);
    const source = header(HEADER.deadSource);
    const lane = names.parseLaneStream(source?.slice(0, source.lastIndexOf(':')) ?? '')?.lane ?? '';
    return {
      id: formatTaskId(queue, key),
      queue,
      lane: isLane(lane) ? lane : DEFAULT_LANE,
      type: header(HEADER.type),
      group: header(HEADER.group),
      hop: hopOf(stored),
      attempt: Number(header(HEADER.attempt) ?? 1),
      reason: header(HEADER.deadReason) ?? 'unknown',
      error: parseError(header(HEADER.deadError)),
      history: parseHistory(header(HEADER.errors)),
      fingerprint: header(HEADER.fingerprint),
      deadAt: Number(header(HEADER.deadAt) ?? stored.storedAt),
      source,
      bytes: stored.data.length,
    };
  }
}

const DEATH = new Set<string>([HEADER.deadReason, HEADER.deadError, HEADER.deadAt, HEADER.deadSource, HEADER.fingerprint, HEADER.attempt]);

/** The headers of a task that lives again: no word of its death but the history, and the first attempt. */
const livingHeaders = (headers: readonly HeaderPair[]): HeaderPair[] => headers.filter(([name]) => !DEATH.has(name));

function payload(data: Uint8Array, contentType: string): { data: unknown } | { base64: string } {
  try {
    if (contentType.startsWith('application/json')) return { data: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)) };
  } catch {
    // Not what its content type says: shown as bytes.
  }
  return { base64: Buffer.from(data).toString('base64') };
}

function parseError(text: string | undefined): ErrorRecord | undefined {
  try {
    return text ? (JSON.parse(text) as ErrorRecord) : undefined;
  } catch {
    return undefined;
  }
}

function check<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  throw new JetlaneError('invalid-argument', issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; '), {
    details: { issues },
  });
}
