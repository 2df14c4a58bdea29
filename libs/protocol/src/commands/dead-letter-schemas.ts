import { z } from 'zod';
import { LANES } from '../lanes.js';

const ms = z.number().describe('Milliseconds since 1970.');
const count = z
  .object({ count: z.int(), exact: z.boolean() })
  .describe('Not exact: at least so many, since not all dead letters were looked at.');
const failure = z.object({ name: z.string(), message: z.string(), code: z.string().optional(), stack: z.string().optional() });

/** A dead letter without its payload. */
export const deadLetterSchema = z
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

/** A dead letter with its payload. */
export const deadLetterDetailSchema = deadLetterSchema
  .extend({
    task_data: z.unknown().optional().describe('The payload, when it is JSON.'),
    base64: z.string().optional().describe('The payload, when it is not.'),
  })
  .meta({ id: 'DeadLetterDetail' });

/** A page of a list of dead letters. */
export const deadLetterPageSchema = z
  .object({
    items: z.array(deadLetterSchema),
    cursor: z.int().optional().describe('Of the next page; missing at the end. A page may be empty and still have one.'),
    scanned: z.int().describe('Dead letters that were looked at.'),
    total: count,
  })
  .meta({ id: 'DeadLetterPage' });

/** What a redrive or discard by filter would do. */
export const deadLetterPreviewSchema = z
  .object({
    dry_run: z.literal(true),
    matched: count,
    sample: z.array(deadLetterSchema.extend({ problem: z.string().optional().describe('The code with which this one would fail.') })),
    cursor: z.int().optional(),
  })
  .meta({ id: 'DeadLetterPreview' });

/** A job over many dead letters. */
export const deadLetterJobSchema = z
  .object({
    job_id: z.string(),
    kind: z.enum(['redrive', 'discard']),
    filter: z.object({
      queue_name: z.string().optional(),
      task_type: z.string().optional(),
      fingerprint: z.string().optional(),
      reason: z.string().optional(),
      from: ms.optional(),
      to: ms.optional(),
    }),
    lane: z.enum(LANES).optional(),
    rate: z.number(),
    state: z
      .enum(['running', 'completed', 'stopped', 'cancelled', 'failed'])
      .describe('`stopped`: a lane is full; a new job with this `cursor` goes on.'),
    moved: z.int().describe('Redriven or discarded.'),
    skipped: z.int().describe('Gone meanwhile, or sent back before.'),
    failed: z.int().describe('Could not be moved; they stay.'),
    left: count,
    cursor: z.int().describe('Everything up to this sequence is dealt with.'),
    until: z.int().describe('The last sequence that it covers.'),
    started_at: ms,
    updated_at: ms,
    error: z.object({ code: z.string(), detail: z.string() }).optional().describe('Why it stopped or failed.'),
    failures: z.array(z.object({ task_id: z.string(), code: z.string(), detail: z.string() })).describe('The first failures.'),
    by: z.string().optional().describe('Who began it, and with which request.'),
  })
  .meta({ id: 'DeadLetterJob' });
