import {
  type DeadLetter,
  type DeadLetterDetail,
  type DeadLetterFilter,
  type DeadLetterJob,
  deadLetterFilterSchema,
  type ErrorRecord,
  LANES,
} from '@jetlane/protocol';
import { z } from 'zod';

const ms = z.number().describe('Milliseconds since 1970.');
const count = z
  .object({ count: z.int(), exact: z.boolean() })
  .describe('Not exact: at least so many, since not all dead letters were looked at.');
const failure = z.object({ name: z.string(), message: z.string(), code: z.string().optional(), stack: z.string().optional() });

const { queue, type, fingerprint, reason, from, to } = deadLetterFilterSchema.shape;
/** A filter as the API writes it. */
export const filterShape = { queue_name: queue, task_type: type, fingerprint, reason, from, to };
export const filterSchema = z.strictObject(filterShape);
export type ApiFilter = z.output<typeof filterSchema>;

export const letterSchema = z
  .object({
    task_id: z.string(),
    sequence: z.int().describe('Its place in the stream of dead letters.'),
    queue_name: z.string(),
    lane: z.enum(LANES).describe('The lane it came from.'),
    task_type: z.string().optional(),
    group: z.string().optional(),
    hop: z.int(),
    attempt: z.int(),
    reason: z.string().describe('Why it was given up, as in `attempts-exhausted`.'),
    error: failure.optional(),
    history: z
      .array(failure.extend({ attempt: z.int(), at: ms, worker: z.string().optional() }))
      .describe('Failed attempts, oldest first.'),
    fingerprint: z.string().optional().describe('The same for failures of the same kind.'),
    dead_at: ms.describe('When it was given up, by the clock of whoever did.'),
    stored_at: ms.describe("When it was stored, by the server's clock: what `from` and `to` go by."),
    source: z.string().optional().describe('Stream and sequence of the message that it was made from.'),
    content_type: z.string(),
    bytes: z.int().describe('Size of the payload.'),
  })
  .meta({ id: 'DeadLetter' });

export const detailSchema = letterSchema
  .extend({
    task_data: z.unknown().optional().describe('The payload, when it is JSON.'),
    base64: z.string().optional().describe('The payload, when it is not.'),
  })
  .meta({ id: 'DeadLetterDetail' });

export const pageSchema = z
  .object({
    items: z.array(letterSchema),
    cursor: z.int().optional().describe('Of the next page; missing at the end. A page may be empty and still have one.'),
    scanned: z.int().describe('Dead letters that were looked at.'),
    total: count,
  })
  .meta({ id: 'DeadLetterPage' });

export const previewSchema = z
  .object({
    dry_run: z.literal(true),
    matched: count,
    sample: z.array(letterSchema.extend({ problem: z.string().optional().describe('The code with which this one would fail.') })),
    cursor: z.int().optional(),
  })
  .meta({ id: 'DeadLetterPreview' });

export const jobSchema = z
  .object({
    job_id: z.string(),
    kind: z.enum(['redrive', 'discard']),
    filter: z.record(z.string(), z.union([z.string(), z.number()])),
    lane: z.enum(LANES).optional(),
    rate: z.number(),
    state: z
      .enum(['running', 'completed', 'stopped', 'cancelled', 'failed'])
      .describe('`stopped`: a lane is full; a new job with this `cursor` goes on.'),
    moved: z.int().describe('Redriven or discarded.'),
    skipped: z.int().describe('Gone meanwhile, or sent back before.'),
    failed: z.int().describe('Could not be moved; they stay.'),
    left: count,
    cursor: z.int(),
    started_at: ms,
    updated_at: ms,
    error: z.object({ code: z.string(), detail: z.string() }).optional().describe('Why it stopped or failed.'),
    failures: z.array(z.object({ task_id: z.string(), code: z.string(), detail: z.string() })).describe('The first failures.'),
    by: z.string().optional().describe('Who began it, and with which request.'),
  })
  .meta({ id: 'DeadLetterJob' });

/** Undefined for what is not there: JSON leaves it out. */
export function letterView(letter: DeadLetter, stacks = false): z.output<typeof letterSchema> {
  const error = (record: ErrorRecord) => ({
    name: record.name,
    message: record.message,
    code: record.code,
    ...(stacks ? { stack: record.stack } : {}),
  });
  return {
    task_id: letter.id,
    sequence: letter.sequence,
    queue_name: letter.queue,
    lane: letter.lane,
    task_type: letter.type,
    group: letter.group,
    hop: letter.hop,
    attempt: letter.attempt,
    reason: letter.reason,
    error: letter.error && error(letter.error),
    history: letter.history.map((entry) => ({ ...error(entry), attempt: entry.attempt, at: entry.at, worker: entry.worker })),
    fingerprint: letter.fingerprint,
    dead_at: letter.deadAt,
    stored_at: letter.storedAt,
    source: letter.source,
    content_type: letter.contentType,
    bytes: letter.bytes,
  };
}

/** With payload and stacks: for who looks into one failure. */
export function detailView(letter: DeadLetterDetail): z.output<typeof detailSchema> {
  return { ...letterView(letter, true), ...('base64' in letter ? { base64: letter.base64 } : { task_data: letter.data }) };
}

export function jobView(job: DeadLetterJob): z.output<typeof jobSchema> {
  const { id, kind, lane, rate, state, moved, skipped, failed, left, cursor, error, by } = job;
  const { queue: queue_name, type: task_type, ...others } = job.filter;
  const filter = Object.fromEntries(Object.entries({ queue_name, task_type, ...others }).filter(([, value]) => value !== undefined));
  return {
    job_id: id,
    ...{ kind, filter: filter as Record<string, string | number>, lane, rate, state, moved, skipped, failed, left, cursor },
    started_at: job.startedAt,
    updated_at: job.updatedAt,
    error: error && { code: error.code, detail: error.message },
    failures: job.failures.map(({ id: task_id, code, message }) => ({ task_id, code, detail: message })),
    by,
  };
}

/** The filter of the API as the library takes it. */
export function filterOf({ queue_name, task_type, ...rest }: ApiFilter): DeadLetterFilter {
  return Object.fromEntries(Object.entries({ queue: queue_name, type: task_type, ...rest }).filter(([, value]) => value !== undefined));
}
