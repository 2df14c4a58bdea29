import { z } from 'zod';
import { queueDefinitionSchema } from '../queue-definition.js';
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
} as const;
