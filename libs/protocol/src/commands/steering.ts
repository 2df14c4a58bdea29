import { z } from 'zod';
import { REASON_LIMIT } from '../cancel.js';
import { durationSchema } from '../duration.js';
import { LANES } from '../lanes.js';
import { defineCommand } from './command.js';
import { queueField } from './queues.js';

const service = 'queue-manager';
const tag = 'queues';

/** Bounds and defaults of what works through a queue. */
export const STEERING_LIMITS = {
  /** Tasks a second. */
  rate: 500,
  highestRate: 10_000,
  /** Ids that one call may name. */
  ids: 1000,
  /** A group is read through within this time, ms. */
  groupTimeoutMs: 30_000,
} as const;

const word = z.string().min(1).max(256);
const lane = z.enum(LANES);
const reason = z.string().max(REASON_LIMIT).describe('Why; kept with what it does.');
const forever = 10 * 366 * 86_400_000;

/** Whether a queue is paused. */
export const queuePauseSchema = z
  .object({
    queue: z.string(),
    paused: z.boolean(),
    until: z.int().optional().describe('When it ends by itself, ms since 1970; missing: when somebody resumes it.'),
    since: z.int().optional().describe('When it was paused or resumed, ms since 1970; missing: never.'),
    by: z.string().optional(),
    reason: z.string().optional(),
  })
  .meta({ id: 'QueuePause' });
/** Whether a queue is paused, until when, and who said so; times in ms since 1970. */
export type QueuePause = z.infer<typeof queuePauseSchema>;

const selection = {
  lane: lane.optional().describe('Only this lane. Default: all.'),
  type: word.optional().describe('Only tasks of this type.'),
  group: word.optional().describe('Only tasks of this group.'),
  olderThan: durationSchema(0, forever).optional().describe('Only tasks that have stood in their lane for longer, as in `1h`.'),
  ids: z.array(z.string().max(300)).min(1).max(STEERING_LIMITS.ids).optional().describe('Only these tasks.'),
};
const many = {
  all: z.literal(true).optional().describe('Needed where no condition is given.'),
  dryRun: z.boolean().optional().describe('Tell what would be done, and do nothing.'),
  rate: z
    .number()
    .min(0.1)
    .max(STEERING_LIMITS.highestRate)
    .optional()
    .describe(`Most tasks a second. Default ${STEERING_LIMITS.rate}; of a cancellation 100.`),
};

const countSchema = z.object({ count: z.int(), exact: z.boolean().describe('False: at least so many.') });

/** Which tasks of a queue a job is about. */
export const taskSelectionSchema = z.object({
  lane: lane.optional(),
  type: z.string().optional(),
  group: z.string().optional(),
  storedBefore: z.int().optional().describe('ms since 1970'),
  ids: z.array(z.string()).optional(),
  scheduled: z.boolean().optional().describe('Timers too: delayed tasks and retries.'),
});
/** Which tasks of a queue a job is about; without any condition all of them. */
export type TaskSelection = z.infer<typeof taskSelectionSchema>;

/** Work on a whole queue, as it goes. It covers what stood when it began. */
export const queueJobSchema = z
  .object({
    id: z.string(),
    kind: z.enum(['drain', 'purge', 'move', 'cancel']),
    queue: z.string(),
    select: taskSelectionSchema,
    to: z.object({ queue: z.string(), lane: lane.optional() }).optional().describe('Move: where to. Without a lane each keeps its own.'),
    reason: z.string().optional(),
    rate: z.number().describe('Most tasks a second.'),
    state: z.enum(['running', 'completed', 'stopped', 'cancelled', 'failed']),
    done: z.int().describe('Purged, moved or cancelled. Drain: finished since it began.'),
    held: z.int().describe('In the hand of a worker: purge and move leave them alone, a cancellation tells the worker.'),
    skipped: z.int().describe('Gone or settled meanwhile.'),
    failed: z.int().describe('Could not be dealt with; they stay.'),
    failures: z.array(z.object({ id: z.string(), code: z.string(), message: z.string() })).describe('The first failures.'),
    left: countSchema.describe('Tasks still to be looked at; not exact where a condition has to be read from each of them.'),
    waitsFor: z.array(z.string()).optional().describe('Drain: what keeps it from its end.'),
    plan: z
      .array(z.object({ place: z.string(), until: z.int() }))
      .describe(
        'Lanes and `timers`, in the order of work, each with the last sequence that the job covers; -1: settled when it comes to it.',
      ),
    at: z.int().describe('Where in the plan it is.'),
    cursor: z.int().describe('Everything up to this sequence is dealt with there.'),
    startedAt: z.int(),
    updatedAt: z.int(),
    error: z.object({ code: z.string(), message: z.string() }).optional().describe('Why it stopped or failed.'),
    by: z.string().optional(),
  })
  .meta({ id: 'QueueJob' });
/** Work on a whole queue, as it goes; times in ms since 1970, `rate` in tasks a second. */
export type QueueJob = z.infer<typeof queueJobSchema>;

/** What a job would do. */
export const queuePreviewSchema = z
  .object({
    dryRun: z.literal(true),
    matched: countSchema,
    held: z.int().describe('Of these, seen in the hand of a worker.'),
    places: z.record(z.string(), z.int()).describe('How many were found in each lane, and among the `timers`.'),
    sample: z.array(
      z.object({
        id: z.string(),
        place: z.string(),
        type: z.string().optional(),
        group: z.string().optional(),
        storedAt: z.int(),
      }),
    ),
  })
  .meta({ id: 'QueuePreview' });
/** What a job would do: the answer to a dry run. */
export type QueuePreview = z.infer<typeof queuePreviewSchema>;

const jobOrPreview = z.union([queueJobSchema, queuePreviewSchema]);
const jobProblems = ['unknown-queue', 'too-many-jobs'] as const;
const timeoutMs = 15_000;

/** Commands that steer a queue. */
export const STEERING_COMMANDS = {
  pause: defineCommand({
    name: 'queues.pause',
    service,
    tag,
    summary: 'Pause a queue',
    description:
      'No task is handed out any more; those in the hands of workers go on, and new ones are taken in. Holds over restarts. May be repeated: the last call counts.',
    scope: 'operate',
    input: z.strictObject({
      queue: queueField,
      for: durationSchema(1000, forever).optional().describe('Ends by itself after this time, as in `5m`. Default: until it is resumed.'),
      reason: reason.optional(),
    }),
    output: queuePauseSchema,
    problems: ['unknown-queue'],
    timeoutMs,
    http: { method: 'POST', path: '/queues/{queue}/pause' },
  }),
  resume: defineCommand({
    name: 'queues.resume',
    service,
    tag,
    summary: 'Resume a queue',
    description: 'May be repeated, and does no harm to a queue that is not paused.',
    scope: 'operate',
    input: z.strictObject({ queue: queueField, reason: reason.optional() }),
    output: queuePauseSchema,
    problems: ['unknown-queue'],
    timeoutMs,
    http: { method: 'POST', path: '/queues/{queue}/resume' },
  }),
  paused: defineCommand({
    name: 'queues.paused',
    service,
    tag,
    summary: 'Show whether a queue is paused',
    description: 'Since when, until when, by whom and why.',
    scope: 'read',
    input: z.strictObject({ queue: queueField }),
    output: queuePauseSchema,
    problems: ['unknown-queue'],
    http: { method: 'GET', path: '/queues/{queue}/pause' },
  }),
  drain: defineCommand({
    name: 'queues.drain',
    service,
    tag,
    summary: 'Wait until a queue is worked off',
    description:
      'A job that ends when all that stood in the lanes when it began is finished, dead, or waits for a retry. It takes nothing away and refuses nothing: new tasks are taken in, and do not prolong it.',
    scope: 'operate',
    input: z.strictObject({
      queue: queueField,
      empty: z
        .boolean()
        .optional()
        .describe('Wait until nothing is there at all: no timer, no retry and no new task. Stop the producers first.'),
    }),
    output: queueJobSchema,
    problems: jobProblems,
    timeoutMs,
    http: { method: 'POST', path: '/queues/{queue}/drain' },
  }),
  purge: defineCommand({
    name: 'queues.purge',
    service,
    tag,
    summary: 'Throw waiting tasks away',
    description:
      'A job. Never takes a task that was handed to a worker. Where the queue keeps records of failures, each task leaves one: `cancelled`, with the reason.',
    scope: 'operate',
    input: z.strictObject({
      queue: queueField,
      ...selection,
      scheduled: z.boolean().optional().describe('Timers too: delayed tasks and retries.'),
      reason: reason.optional().describe('Default `purged`.'),
      ...many,
    }),
    output: jobOrPreview,
    problems: jobProblems,
    timeoutMs,
    http: { method: 'POST', path: '/queues/{queue}/purge' },
  }),
  move: defineCommand({
    name: 'queues.move',
    service,
    tag,
    summary: 'Move waiting tasks to another lane or queue',
    description:
      'A job. Never takes a task that was handed to a worker. In another queue a task has another id, `<queue>.<key>`; under the old one a record says where it went.',
    scope: 'operate',
    input: z.strictObject({
      queue: queueField,
      ...selection,
      toQueue: queueField.optional().describe('Default: the same queue.'),
      toLane: lane.optional().describe('Default: each task keeps its lane.'),
      ...many,
    }),
    output: jobOrPreview,
    problems: [...jobProblems, 'queue-full'],
    timeoutMs,
    http: { method: 'POST', path: '/queues/{queue}/move' },
  }),
  cancel: defineCommand({
    name: 'queues.cancel',
    service,
    tag,
    summary: 'Cancel tasks by a filter',
    description: 'A job. Those that wait do not run any more; the handlers of those that run get their signal.',
    scope: 'operate',
    input: z.strictObject({ queue: queueField, ...selection, reason: reason.optional().describe('Default `cancelled`.'), ...many }),
    output: jobOrPreview,
    problems: jobProblems,
    timeoutMs,
    http: { method: 'POST', path: '/queues/{queue}/cancel' },
  }),
} as const;

const jobs = { service, tag: 'jobs' } as const;
const id = z.string().max(100);

/** Commands about jobs. */
export const JOB_COMMANDS = {
  list: defineCommand({
    ...jobs,
    name: 'jobs.list',
    summary: 'List the jobs of the last seven days',
    description: 'Newest first, at most 200; of each the first failure and the first ten ids.',
    scope: 'read',
    input: z.strictObject({ queue: queueField.optional(), state: queueJobSchema.shape.state.optional() }),
    output: z.object({ items: z.array(queueJobSchema) }),
    problems: [],
    http: { method: 'GET', path: '/jobs' },
  }),
  get: defineCommand({
    ...jobs,
    name: 'jobs.get',
    summary: 'Show a job',
    description: 'How far it is; written once a second.',
    scope: 'read',
    input: z.strictObject({ id }),
    output: queueJobSchema,
    problems: ['job-not-found'],
    http: { method: 'GET', path: '/jobs/{id}' },
  }),
  cancel: defineCommand({
    ...jobs,
    name: 'jobs.cancel',
    summary: 'Cancel a job',
    description: 'It ends within a second or two, after what it has in hand. What was done stays done.',
    scope: 'operate',
    input: z.strictObject({ id }),
    output: queueJobSchema,
    problems: ['job-not-found'],
    http: { method: 'POST', path: '/jobs/{id}/cancel' },
  }),
} as const;
