import { z } from 'zod';
import { LANES } from '../lanes.js';
import { TASK_STATES } from '../record.js';
import { defineCommand } from './command.js';
import { queueField } from './queues.js';

const service = 'queue-manager';
const tag = 'tasks';
const ms = z.number().describe('Milliseconds since 1970.');

/** States that a search can find, in the order in which a list goes through them. */
export const LISTED_STATES = ['running', 'queued', 'scheduled', 'retrying', 'completed', 'cancelled', 'dead'] as const;
/** A state that a search can find. */
export type ListedState = (typeof LISTED_STATES)[number];

const words = (text: string): string[] => text.split(',').map((word) => word.trim());

/** The states of a search, of which {@link SEARCH_COMMANDS} has checked the text: `completed,dead`. Default: all. */
export const listedStates = (text?: string): readonly ListedState[] =>
  text === undefined ? LISTED_STATES : (words(text) as ListedState[]);

const states = z
  .string()
  .max(200)
  .refine(
    (text) => words(text).every((word) => (LISTED_STATES as readonly string[]).includes(word)),
    `expected one or more of ${LISTED_STATES.join(', ')}, comma separated`,
  )
  .describe(`One or more of ${LISTED_STATES.join(', ')}, comma separated. Default: all.`);

const time = z
  .string()
  .or(z.number())
  .transform((value) => (typeof value === 'number' || /^\d+$/.test(value) ? Number(value) : Date.parse(value)))
  .refine((value) => Number.isSafeInteger(value) && value >= 0 && value <= 8.64e15, 'expected ms since 1970 or an ISO 8601 time');

const text = z.string().min(1).max(200);

/** One task of a list. */
export const taskEntrySchema = z
  .object({
    id: z.string(),
    queue: z.string(),
    state: z.enum(TASK_STATES),
    lane: z.enum(LANES).optional(),
    type: z.string().optional(),
    group: z.string().optional(),
    attempt: z.number(),
    hop: z.number(),
    at: z.object({ created: ms, stored: ms, started: ms, finished: ms, scheduled_for: ms }).partial(),
    error: z.string().optional().describe('Name and message of the last error.'),
    reason: z.string().optional(),
    worker: z.string().optional(),
  })
  .meta({ id: 'TaskEntry' });
/** One task of a list or an event; times in ms since 1970, those that are not known are missing. */
export type TaskEntry = z.output<typeof taskEntrySchema>;

/** How far the projection of finished tasks is. */
export const projectionSchema = z
  .object({
    state: z.enum(['off', 'building', 'current', 'failed']).describe('`building`: it has not yet seen all records once.'),
    detail: z.string().optional().describe('Why it is off or failed.'),
    rows: z.number().describe('Finished tasks in it.'),
    position: z.number().describe('Sequence of the last record in it.'),
    pending: z.number().describe('Records behind that position: the lag.'),
    lag_ms: z.number().describe('How long ago the projection had seen all that there was.'),
    bytes: z.number().describe('Size of its file.'),
    applied: z.number().describe('Records taken in since this process started.'),
    cost_ms: z.number().describe('Time that the process spent on taking them in.'),
  })
  .meta({ id: 'Projection' });
/** How far the projection of finished tasks is, as `search.status` gives it; times in ms, sizes in bytes. */
export type ProjectionStatus = z.output<typeof projectionSchema>;

const listOutput = z.object({
  items: z.array(taskEntrySchema),
  cursor: z.string().optional().describe('Give it to get the next page; missing when all was seen.'),
  scanned: z.number().describe('Tasks that were looked at.'),
  not_searched: z
    .array(z.object({ states: z.array(z.enum(LISTED_STATES)), reason: z.string() }))
    .describe('States that the filter asks for and this search cannot answer.'),
  projection: projectionSchema.pick({ state: true, pending: true, lag_ms: true }),
});

/** Commands that look for tasks. */
export const SEARCH_COMMANDS = {
  tasks: defineCommand({
    name: 'tasks.list',
    service,
    tag,
    summary: 'List and search tasks',
    description:
      'A page of tasks that fit all conditions. It goes state by state (running, queued, scheduled and retrying, then finished ones, newest first). A page looks at a bounded number of tasks: it may be empty and still have a `cursor`.',
    scope: 'read',
    input: z.strictObject({
      queue: queueField.optional(),
      lane: z.enum(LANES).optional(),
      type: z.string().min(1).max(256).optional().describe('Task type, exactly.'),
      group: z.string().min(1).max(256).optional().describe('Group, exactly.'),
      state: states.optional(),
      from: time.optional().describe('Stored at this time or later: the task where it waits or runs, its record where it is finished.'),
      to: time.optional().describe('Stored before this time.'),
      error: text.optional().describe('A part of the last error, in any case.'),
      payload: text.optional().describe('A part of the payload, in any case; of tasks that still have one.'),
      limit: z.coerce.number().int().min(1).max(200).default(50),
      cursor: z.string().max(500).optional(),
    }),
    output: listOutput,
    problems: ['request-timeout', 'no-responders', 'jetstream-api'],
    timeoutMs: 10_000,
    http: { method: 'GET', path: '/tasks' },
  }),
  status: defineCommand({
    name: 'search.status',
    service,
    tag,
    summary: 'Show the projection of finished tasks',
    description:
      'How far it is behind the records, how large it is and what it costs. Every queue-manager has one of its own; one of them answers.',
    scope: 'read',
    input: z.strictObject({}),
    output: projectionSchema,
    problems: [],
    http: { method: 'GET', path: '/search' },
  }),
} as const;
