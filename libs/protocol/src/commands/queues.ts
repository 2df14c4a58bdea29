import { z } from 'zod';
import { type QueueDefinition, queueDefinitionSchema } from '../queue-definition.js';
import { isQueueName } from '../task-id.js';
import { defineCommand } from './command.js';

const service = 'queue-manager';
const tag = 'queues';

/** Name of a queue, as the input of a command. */
export const queueField = z.string().refine(isQueueName, 'expected a queue name: [a-z0-9][a-z0-9_-]{0,63}').describe('Name of the queue.');

/** A definition as it is stored, with the revision that a change must name. */
export const storedDefinitionSchema = z
  .object({ definition: queueDefinitionSchema, revision: z.int() })
  .meta({ id: 'StoredDefinition' })
  .describe('A queue definition and its revision.');

const revision = z.coerce
  .number()
  .int()
  .min(0)
  .optional()
  .describe('Change it only if this is its revision; 0: only if there is none. As `If-Match` over HTTP. Default: whatever stands there.');
const { name, ...fields } = queueDefinitionSchema.shape;

/** Each field of a definition, or null. */
const changes: { [F in keyof typeof fields]: z.ZodType<QueueDefinition[F] | null | undefined> } = Object.assign(
  { ...fields },
  Object.fromEntries(Object.entries(fields).map(([field, schema]) => [field, schema.nullable()])),
);

/** A past state of a definition. */
const pastDefinitionSchema = z
  .object({
    revision: z.int(),
    at: z.int().describe('When it was stored, ms since 1970.'),
    definition: z.unknown().describe('The definition; null where the queue was deleted.'),
  })
  .meta({ id: 'PastDefinition' });

/** Commands about the definitions of queues. */
export const QUEUE_COMMANDS = {
  list: defineCommand({
    name: 'queues.list',
    service,
    tag,
    summary: 'List queue definitions',
    description: 'All definitions, by name.',
    scope: 'read',
    input: z.strictObject({}),
    output: z.object({ items: z.array(storedDefinitionSchema) }),
    visible: ({ items }, allows) => ({ items: items.filter(({ definition }) => allows(definition.name)) }),
    problems: [],
    http: { method: 'GET', path: '/queues' },
  }),
  get: defineCommand({
    name: 'queues.get',
    service,
    tag,
    summary: 'Show a queue definition',
    description: 'With the revision that a change may name in `If-Match`.',
    scope: 'read',
    input: z.strictObject({ queue: queueField }),
    output: storedDefinitionSchema,
    problems: ['unknown-queue'],
    http: { method: 'GET', path: '/queues/{queue}', revisions: true },
  }),
  history: defineCommand({
    name: 'queues.history',
    service,
    tag,
    summary: 'Show what a queue definition was',
    description: 'The last 16 revisions, newest first, also of a queue that was deleted. Who made them is in the audit.',
    scope: 'read',
    input: z.strictObject({ queue: queueField }),
    output: z.object({ items: z.array(pastDefinitionSchema) }),
    problems: ['unknown-queue'],
    http: { method: 'GET', path: '/queues/{queue}/history' },
  }),
  put: defineCommand({
    name: 'queues.put',
    service,
    tag,
    summary: 'Define a queue',
    description:
      'Creates the queue, or replaces its whole definition. It answers when the streams stand; where they cannot, nothing is changed.',
    scope: 'admin',
    input: z.strictObject({ queue: queueField, revision, name: name.optional().describe('The same as in the path.'), ...fields }),
    output: storedDefinitionSchema,
    problems: ['revision-conflict', 'jetstream-api', 'stream-mismatch', 'queue-not-empty'],
    timeoutMs: 30_000,
    http: { method: 'PUT', path: '/queues/{queue}', revisions: true },
  }),
  patch: defineCommand({
    name: 'queues.patch',
    service,
    tag,
    summary: 'Change fields of a queue definition',
    description: 'Fields that are given replace those of the definition as a whole; null removes one. It answers when the streams stand.',
    scope: 'admin',
    input: z.strictObject({ queue: queueField, revision, ...changes }),
    output: storedDefinitionSchema,
    problems: ['unknown-queue', 'revision-conflict', 'jetstream-api', 'stream-mismatch', 'queue-not-empty'],
    timeoutMs: 30_000,
    http: { method: 'PATCH', path: '/queues/{queue}', revisions: true },
  }),
  delete: defineCommand({
    name: 'queues.delete',
    service,
    tag,
    summary: 'Delete a queue',
    description:
      'Deletes the definition and the lanes of a queue that holds no task and no timer. With `force` its tasks and timers are thrown away. Records and dead letters stay.',
    scope: 'admin',
    input: z.strictObject({
      queue: queueField,
      revision,
      force: z.union([z.boolean(), z.stringbool()]).optional().describe('Throw tasks away. Default false.'),
    }),
    output: z.object({ queue: z.string(), dropped: z.int().describe('Tasks and timers that were thrown away.') }),
    problems: ['unknown-queue', 'revision-conflict', 'queue-not-empty', 'jetstream-api'],
    timeoutMs: 30_000,
    http: { method: 'DELETE', path: '/queues/{queue}', revisions: true },
  }),
} as const;
