import { z } from 'zod';
import { LANES } from '../lanes.js';
import { type Command, defineCommand } from './command.js';
import {
  deadLetterCursor,
  deadLetterFilterFields,
  deadLetterLimit,
  deadLetterSelection,
  deadLetterTask,
  redriveChange,
} from './dead-letter-fields.js';
import { deadLetterDetailSchema, deadLetterJobSchema, deadLetterPageSchema, deadLetterPreviewSchema } from './dead-letter-schemas.js';

const redriven = z
  .object({
    task_id: z.string(),
    hop: z.int().describe('Hop under which the task lives again.'),
    lane: z.enum(LANES),
    duplicate: z.boolean().describe('It had been sent back before: now only the dead letter was removed.'),
    dry_run: z.literal(true).optional(),
  })
  .meta({ id: 'Redriven' });
const discarded = z.object({ task_id: z.string(), discarded: z.boolean(), dry_run: z.literal(true).optional() }).meta({ id: 'Discarded' });

const common = { service: 'resiliency', tag: 'dead-letters', timeoutMs: 15_000 } as const;
const READ_PROBLEMS = ['no-responders', 'jetstream-api'] as const;
const job = { path: '/dead-letters/jobs/{job_id}', schema: deadLetterJobSchema } as const;
const job_id = z.string().max(300);

/** Commands about dead letters, and about the jobs that deal with many of them. */
export const DEAD_LETTER_COMMANDS = {
  list: defineCommand({
    ...common,
    name: 'dead-letters.list',
    summary: 'List dead letters',
    description:
      'Oldest first. All conditions must hold. What a page reads is bounded (10,000 dead letters): with a filter of type, fingerprint or reason it may be empty and still have a `cursor` to go on with.',
    scope: 'read',
    input: z.strictObject({ ...deadLetterFilterFields, limit: deadLetterLimit, cursor: deadLetterCursor }),
    output: deadLetterPageSchema,
    problems: READ_PROBLEMS,
    http: { method: 'GET', path: '/dead-letters' },
  }),
  get: defineCommand({
    ...common,
    name: 'dead-letters.get',
    summary: 'Show a dead letter',
    description: 'With its payload and with the stacks of its errors.',
    scope: 'read',
    input: z.strictObject({ task_id: deadLetterTask }),
    output: deadLetterDetailSchema,
    problems: [...READ_PROBLEMS, 'dead-letter-not-found'],
    http: { method: 'GET', path: '/dead-letters/{task_id}' },
  }),
  redrive: defineCommand({
    ...common,
    name: 'dead-letters.redrive',
    summary: 'Send dead letters back to their lanes',
    description:
      'One by `task_id`: 200, it is in its lane and the dead letter is gone. Many by `filter`: 202 with a job; it covers what is there now, at most `rate` a second, and a full lane stops it. `dry_run` tells what would be done.',
    scope: 'operate',
    input: z.strictObject({ ...deadLetterSelection, ...redriveChange }).superRefine((input, context) => {
      oneOrMany(input, context);
      const edit = ['task_data', 'base64', 'content_type'].find((field) => Object.hasOwn(input, field));
      if (input.task_id === undefined && edit !== undefined)
        refuse(context, edit, 'another payload can be given for one dead letter only, by "task_id"');
      if (Object.hasOwn(input, 'task_data') && input.base64 !== undefined) refuse(context, 'base64', 'give either "task_data" or "base64"');
      if ((input.base64 === undefined) !== (input.content_type === undefined))
        refuse(context, 'content_type', 'give "base64" and "content_type" together');
    }),
    output: z.union([redriven, deadLetterPreviewSchema, deadLetterJobSchema]),
    problems: [
      'dead-letter-not-found',
      'too-many-jobs',
      'unknown-queue',
      'queue-full',
      'payload-too-large',
      'publish-timeout',
      'no-responders',
    ],
    http: { method: 'POST', path: '/dead-letters/redrive', job },
  }),
  discard: defineCommand({
    ...common,
    name: 'dead-letters.discard',
    summary: 'Throw dead letters away',
    description:
      'For good: one by `task_id`, or many by `filter`, as a job. The status of such a task stays `dead`. Every discard is a line in the log of the resiliency service.',
    scope: 'operate',
    input: z.strictObject(deadLetterSelection).superRefine(oneOrMany),
    output: z.union([discarded, deadLetterPreviewSchema, deadLetterJobSchema]),
    problems: ['dead-letter-not-found', 'too-many-jobs'],
    http: { method: 'POST', path: '/dead-letters/discard', job },
  }),
  discardOne: defineCommand({
    ...common,
    name: 'dead-letters.discard-one',
    summary: 'Throw one dead letter away',
    description: 'For good. The status of the task stays `dead`.',
    scope: 'operate',
    input: z.strictObject({ task_id: deadLetterTask }),
    output: discarded,
    problems: ['dead-letter-not-found'],
    http: { method: 'DELETE', path: '/dead-letters/{task_id}' },
  }),
  jobs: defineCommand({
    ...common,
    name: 'dead-letters.jobs',
    summary: 'Jobs that redrive or discard',
    description: 'Those of the last seven days, newest first.',
    scope: 'read',
    input: z.strictObject({}),
    output: z.object({ jobs: z.array(deadLetterJobSchema) }),
    visible: ({ jobs }, allows) => ({
      jobs: jobs.filter(({ filter: { queue_name } }) => queue_name !== undefined && allows(queue_name)),
    }),
    problems: [],
    http: { method: 'GET', path: '/dead-letters/jobs' },
  }),
  job: defineCommand({
    ...common,
    name: 'dead-letters.job',
    summary: 'How a job fares',
    description: 'Written once a second while it runs.',
    scope: 'read',
    input: z.strictObject({ job_id }),
    output: deadLetterJobSchema,
    problems: ['job-not-found'],
    http: { method: 'GET', path: '/dead-letters/jobs/{job_id}' },
  }),
  cancelJob: defineCommand({
    ...common,
    name: 'dead-letters.cancel-job',
    summary: 'Cancel a job',
    description: 'It ends after what it has in hand; what was moved stays moved. A job that has ended stays as it is.',
    scope: 'operate',
    input: z.strictObject({ job_id }),
    output: deadLetterJobSchema,
    problems: ['job-not-found'],
    http: { method: 'DELETE', path: '/dead-letters/jobs/{job_id}' },
  }),
} as const satisfies Readonly<Record<string, Command>>;

type Selection = { readonly [Field in keyof typeof deadLetterSelection]?: unknown };

function oneOrMany(input: Selection, context: z.RefinementCtx): void {
  if ((input.task_id === undefined) === (input.filter === undefined))
    return refuse(context, 'task_id', 'give either "task_id" or "filter"');
  for (const field of ['all', 'rate', 'cursor'] as const)
    if (input.task_id !== undefined && input[field] !== undefined) refuse(context, field, 'goes with "filter" only');
  if (input.filter && Object.keys(input.filter).length === 0 && !input.all)
    refuse(context, 'filter', 'the filter has no condition; to mean every dead letter add "all": true');
}

function refuse(context: z.RefinementCtx, field: string, message: string): void {
  context.addIssue({ code: 'custom', path: [field], message });
}
