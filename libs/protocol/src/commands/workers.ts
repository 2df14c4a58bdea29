import { z } from 'zod';
import { LANES } from '../lanes.js';
import { defineCommand } from './command.js';
import { queueField } from './queues.js';

const service = 'queue-manager';
const tag = 'workers';
const ms = z.number().describe('Milliseconds since 1970.');

/** States of a worker: it tells of itself, or was silent for more than three heartbeats. */
export const WORKER_STATES = ['live', 'lost'] as const;

/** A worker as its last heartbeat showed it. */
export const workerViewSchema = z
  .object({
    worker: z.string(),
    queue: z.string(),
    state: z.enum(WORKER_STATES).describe('`lost`: silent for 3.5 s without a word of farewell. Shown for a minute, then forgotten.'),
    host: z.string(),
    pid: z.number(),
    version: z.string(),
    started_at: ms,
    seen_at: ms.describe('When its last heartbeat came, by the clock of the queue-manager.'),
    types: z.array(z.string()).describe('Task types that it has handlers for.'),
    slots: z.number(),
    busy: z.number().describe('Slots in use.'),
    utilisation: z.number().nullable().describe("Share of the slots' time in the last second that handlers took, 0 to 1."),
    loop_lag_ms: z.number().nullable().describe('Longest delay of the event loop in the last second.'),
    cpu: z.number().nullable().describe('Share of one processor core that its process took.'),
    rss_mb: z.number().nullable().describe('Resident memory of its process, MiB.'),
    heap_mb: z.number().nullable(),
    running: z.number().describe('Tasks that run now.'),
  })
  .meta({ id: 'Worker' });

const runningSchema = z.object({
  id: z.string(),
  lane: z.enum(LANES),
  hop: z.number(),
  attempt: z.number(),
  started_at: ms,
  progress: z.unknown().optional(),
});

/** A worker with the tasks that it runs. */
export const workerDetailSchema = workerViewSchema
  .extend({ tasks: z.array(runningSchema).describe('What it runs now, 1,000 at most.') })
  .meta({ id: 'WorkerDetail' });

/** A worker as its last heartbeat showed it; times in ms since 1970, memory in MiB, shares from 0 to 1. */
export type WorkerView = z.output<typeof workerViewSchema>;
/** A worker with up to 1,000 of the tasks that it runs. */
export type WorkerDetail = z.output<typeof workerDetailSchema>;

/** Commands about workers. */
export const WORKER_COMMANDS = {
  list: defineCommand({
    name: 'workers.list',
    service,
    tag,
    summary: 'List workers',
    description: 'Every worker that tells of itself, and those that fell silent within the last minute, by queue and name.',
    scope: 'read',
    input: z.strictObject({
      queue: queueField.optional(),
      state: z.enum(WORKER_STATES).optional(),
      limit: z.coerce.number().int().min(1).max(1000).default(200).describe('Most workers in the answer.'),
      cursor: z.string().max(300).optional().describe('Where the page before this one ended.'),
    }),
    output: z.object({ items: z.array(workerViewSchema), cursor: z.string().optional(), total: z.number() }),
    problems: [],
    http: { method: 'GET', path: '/workers' },
  }),
  get: defineCommand({
    name: 'workers.get',
    service,
    tag,
    summary: 'Show a worker',
    description: 'With the tasks that it runs now.',
    scope: 'read',
    input: z.strictObject({ queue: queueField, worker: z.string().min(1).max(200).describe('Name of the worker.') }),
    output: workerDetailSchema,
    problems: ['worker-not-found'],
    http: { method: 'GET', path: '/queues/{queue}/workers/{worker}' },
  }),
} as const;
