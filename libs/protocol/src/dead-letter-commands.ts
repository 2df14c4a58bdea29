import { z } from 'zod';
import { type Lane, parseLane } from './lanes.js';
import { isQueueName } from './task-id.js';

/** The service that redrives and discards dead letters. */
export const DEAD_LETTER_SERVICE = 'resiliency' as const;

/** Bounds and defaults of the commands. */
export const DEAD_LETTER_LIMITS = {
  /** Dead letters in a page of a list. */
  page: 100,
  longestPage: 1000,
  /** Redriven or discarded per second by a job. */
  rate: 100,
  highestRate: 10_000,
} as const;

/** The end of the year 9999: beyond it no server reads a time. */
const LATEST = 253_402_300_799_999;
const word = z.string().min(1).max(256);

export const instantField = z.union([z.number(), z.string()]).transform((value, context): number => {
  const ms =
    typeof value === 'number' || /^\d+$/.test(value)
      ? Number(value)
      : z.iso.datetime({ offset: true }).safeParse(value).success
        ? Date.parse(value)
        : Number.NaN;
  if (Number.isInteger(ms) && ms >= 0 && ms <= LATEST) return ms;
  context.addIssue({ code: 'custom', message: 'expected milliseconds since 1970 or a time such as "2026-01-31T12:00:00Z"' });
  return z.NEVER;
});

const lane = z
  .union([z.string(), z.number()])
  .transform((value, context): Lane => {
    const found = parseLane(value);
    if (found) return found;
    context.addIssue({ code: 'custom', message: 'expected low, normal, high, critical or 1 (low) to 4 (critical)' });
    return z.NEVER;
  })
  .describe('low, normal, high, critical in any case, or 1 (low) to 4 (critical). Default: the lane it came from.');

/** Fields of a filter; all conditions must hold. */
export const deadLetterFilterSchema = z.strictObject({
  queue: z.string().refine(isQueueName, 'expected a queue name').optional(),
  type: word.optional().describe('Task type.'),
  fingerprint: word.optional(),
  reason: word.optional().describe('As in `attempts-exhausted`.'),
  from: instantField.optional().describe("Stored at this time or later, by the server's clock: ms since 1970 or ISO 8601."),
  to: instantField.optional().describe('Stored before this time.'),
});

const after = z.int().min(0).describe('Cursor: `next` of the page before.');
const id = z.string().max(300).describe('`<queue>.<key>`');
const by = z.string().max(200).describe('Who asks: for the log.');
const all = z.literal(true).describe('Needed for a filter without a condition.');
const dryRun = z.boolean().describe('Tell what would be done, and do nothing.');
const rate = z.number().min(0.1).max(DEAD_LETTER_LIMITS.highestRate).describe('Most dead letters a second. Default 100.');

/** Input of `list` and `export`. */
export const listDeadLettersSchema = deadLetterFilterSchema.extend({
  limit: z.int().min(1).max(DEAD_LETTER_LIMITS.longestPage).default(DEAD_LETTER_LIMITS.page),
  after: after.default(0),
});

/** Input of `get`, `job` and `cancel`. */
export const idInputSchema = z.strictObject({ id });

const many = { filter: deadLetterFilterSchema.optional(), all: all.optional(), rate: rate.optional(), after: after.optional() };

/** Input of `redrive`: of one dead letter by `id`, or of all that fit `filter`. */
export const redriveSchema = z
  .strictObject({
    id: id.optional(),
    ...many,
    lane: lane.optional(),
    data: z.unknown().optional().describe('Another payload: any JSON value. For one dead letter only.'),
    base64: z.base64().optional().describe('Another payload, in bytes; together with `contentType`.'),
    contentType: z
      .string()
      .regex(/^[\x20-\x7e]{1,200}$/, 'expected a media type')
      .optional(),
    dryRun: dryRun.optional(),
    by: by.optional(),
  })
  .superRefine((input, context) => {
    oneOrMany(input, context);
    const edits = ['data', 'base64', 'contentType'].filter((field) => Object.hasOwn(input, field));
    if (input.id === undefined && edits.length > 0)
      refuse(context, edits[0]!, 'another payload can be given for one dead letter only, by "id"');
    if (Object.hasOwn(input, 'data') && input.base64 !== undefined) refuse(context, 'base64', 'give either "data" or "base64"');
    if ((input.base64 === undefined) !== (input.contentType === undefined))
      refuse(context, 'contentType', 'give "base64" and "contentType" together');
  });

/** Input of `discard`: of one dead letter by `id`, or of all that fit `filter`. */
export const discardSchema = z
  .strictObject({ id: id.optional(), ...many, dryRun: dryRun.optional(), by: by.optional() })
  .superRefine(oneOrMany);

type Selection = { readonly [Field in 'id' | keyof typeof many]?: unknown };

function oneOrMany(input: Selection, context: z.RefinementCtx): void {
  if ((input.id === undefined) === (input.filter === undefined)) return refuse(context, 'id', 'give either "id" or "filter"');
  for (const field of ['all', 'rate', 'after'] as const)
    if (input.id !== undefined && input[field] !== undefined) refuse(context, field, 'goes with "filter" only');
  if (input.filter && Object.keys(input.filter).length === 0 && !input.all)
    refuse(context, 'filter', 'the filter has no condition; to mean every dead letter add "all": true');
}

function refuse(context: z.RefinementCtx, field: string, message: string): void {
  context.addIssue({ code: 'custom', path: [field], message });
}

/** Input of `list` and `export`, read: defaults filled in. */
export type ListDeadLettersInput = z.output<typeof listDeadLettersSchema>;
/** Input of `redrive`, read. */
export type RedriveInput = z.output<typeof redriveSchema>;
/** Input of `discard`, read. */
export type DiscardInput = z.output<typeof discardSchema>;
