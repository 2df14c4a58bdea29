import { z } from 'zod';
import { type Lane, parseLane } from '../lanes.js';
import { isQueueName } from '../task-id.js';
import { instantField } from './instant.js';

/** Bounds and defaults of the commands about dead letters. */
export const DEAD_LETTER_LIMITS = {
  /** Dead letters in a page of a list. */
  page: 100,
  longestPage: 1000,
  /** Redriven or discarded per second by a job. */
  rate: 100,
  highestRate: 10_000,
} as const;

const word = z.string().min(1).max(256);
/** Fields of a filter of dead letters; all conditions must hold. */
export const deadLetterFilterFields = {
  queue_name: z.string().refine(isQueueName, 'expected a queue name').optional(),
  task_type: word.optional().describe('Task type.'),
  fingerprint: word.optional(),
  reason: word.optional().describe('As in `attempts-exhausted`.'),
  from: instantField.optional().describe("Stored at this time or later, by the server's clock: ms since 1970 or ISO 8601."),
  to: instantField.optional().describe('Stored before this time.'),
};

/** A number that a query gives as text. */
const whole = (least: number, most: number) => {
  const expected = `expected a whole number from ${least} to ${most}`;
  return z
    .union([z.number(), z.string().regex(/^\d{1,16}$/, expected)], { error: expected })
    .transform(Number)
    .refine((value) => Number.isInteger(value) && value >= least && value <= most, expected);
};
/** Where a page begins: `cursor` of the one before. */
export const deadLetterCursor = whole(0, Number.MAX_SAFE_INTEGER).optional().describe('`cursor` of the page before.');
/** Longest page that is wanted. */
export const deadLetterLimit = whole(1, DEAD_LETTER_LIMITS.longestPage)
  .default(DEAD_LETTER_LIMITS.page)
  .describe('1 to 1000. Default 100.');

/** The task of one dead letter. */
export const deadLetterTask = z.string().max(300).describe('`<queue>.<key>`');

/** Fields that say which dead letters are meant: one, or all that fit a filter. */
export const deadLetterSelection = {
  task_id: deadLetterTask.optional().describe('One dead letter.'),
  filter: z.strictObject(deadLetterFilterFields).optional().describe('All that fit: starts a job.'),
  all: z.literal(true).optional().describe('Needed for a filter without a condition.'),
  rate: z.number().min(0.1).max(DEAD_LETTER_LIMITS.highestRate).optional().describe('Most dead letters a second. Default 100.'),
  cursor: z.int().min(0).optional().describe('Where an earlier job stopped: its `cursor`.'),
  dry_run: z.boolean().optional().describe('Tell what would be done, and do nothing.'),
};

const lane = z
  .union([z.string(), z.number()])
  .transform((value, context): Lane => {
    const found = parseLane(value);
    if (found) return found;
    context.addIssue({ code: 'custom', message: 'expected low, normal, high, critical or 1 (low) to 4 (critical)' });
    return z.NEVER;
  })
  .describe('low, normal, high, critical in any case, or 1 (low) to 4 (critical). Default: the lane it came from.');

/** Fields that say how a redrive changes a task. */
export const redriveChange = {
  lane: lane.optional(),
  task_data: z.unknown().optional().describe('Another payload: any JSON value. For one dead letter only.'),
  base64: z.base64().optional().describe('Another payload, in bytes; together with `content_type`.'),
  content_type: z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/, 'expected a media type')
    .optional(),
};
