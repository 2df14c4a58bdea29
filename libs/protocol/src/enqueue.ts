import { z } from 'zod';
import { type Duration, toMs } from './duration.js';
import { type Lane, parseLane } from './lanes.js';
import { isQueueName, isTaskKey, isTaskType } from './task-id.js';

const priority = z
  .union([z.string(), z.number()])
  .optional()
  .transform((value, context): Lane => {
    const lane = value === undefined ? 'normal' : parseLane(value);
    if (lane) return lane;
    context.addIssue({ code: 'custom', message: 'expected LOW, NORMAL, HIGH, CRITICAL or 1 (low) to 4 (critical)' });
    return z.NEVER;
  })
  .describe('LOW, NORMAL, HIGH, CRITICAL in any case, or 1 (low) to 4 (critical). Default NORMAL.');

const MAX_DELAY_MS = 366 * 86_400_000;
const delay = z
  .union([z.number(), z.string()])
  .optional()
  .transform((value, context): number => {
    const ms = readDelay(value);
    if (ms !== undefined && ms >= 0 && ms <= MAX_DELAY_MS) return ms;
    context.addIssue({ code: 'custom', message: 'expected seconds or a duration such as "90s" or "2h", from 0 to 366 days' });
    return z.NEVER;
  })
  .describe('Seconds, or a duration such as "90s" or "2h". Default 0.');

function readDelay(value: Duration | undefined): number | undefined {
  if (value === undefined) return 0;
  if (typeof value === 'number') return value * 1000;
  try {
    return toMs(value, 'delay');
  } catch {
    return undefined;
  }
}

/** Schema of the body of `POST /api/queue/enqueue`. */
export const enqueueRequestSchema = z.strictObject({
  queue_name: z.string().refine(isQueueName, 'expected a queue name: lower case letters, digits, _ and -, at most 64'),
  task_type: z
    .string()
    .refine(isTaskType, 'expected a task type: letters, digits and _ . : / -, at most 128')
    .optional()
    .describe('May be missing where the queue has a default type.'),
  task_data: z.unknown().optional().describe('The payload: any JSON value.'),
  priority,
  delay,
  task_id: z
    .string()
    .refine(isTaskKey, 'expected a task key: letters, digits, _ and -, at most 128')
    .optional()
    .describe("The caller's idempotency key."),
});

/** A checked enqueue request: lane and delay (ms) are resolved. */
export type EnqueueRequest = z.output<typeof enqueueRequestSchema>;
