import { z } from 'zod';
import { defineCommand } from './command.js';
import { instantField } from './instant.js';

/** One action of an operator, as it is kept. */
export const auditEntrySchema = z
  .object({
    id: z.string().describe('Rises with the time.'),
    at: z.int().describe('ms since 1970'),
    caller: z.string().describe("Who: a key's name, a token's subject, an address."),
    command: z.string().describe('What, as in `queues.pause`.'),
    target: z.string().describe('What it was done to: a queue, a task, a job.'),
    before: z.unknown().optional(),
    after: z.unknown().optional(),
    error: z.object({ code: z.string(), message: z.string() }).optional().describe('Why it failed.'),
  })
  .meta({ id: 'AuditEntry' });
/** One action of an operator, as `audit.list` gives it; times in ms since 1970. */
export type AuditItem = z.infer<typeof auditEntrySchema>;

const word = z.string().min(1).max(300).optional();

/** Commands about the audit. */
export const AUDIT_COMMANDS = {
  list: defineCommand({
    name: 'audit.list',
    service: 'queue-manager',
    tag: 'audit',
    summary: 'List what operators did',
    description: 'Newest first, of the last 90 days. All conditions must hold.',
    scope: 'admin',
    input: z.strictObject({
      caller: word.describe('Exactly this caller.'),
      command: word.describe('Exactly this command, as in `queues.pause`.'),
      target: word.describe('Exactly this queue, task or job.'),
      from: instantField.optional().describe('At this time or later: ms since 1970 or ISO 8601.'),
      to: instantField.optional().describe('Before this time.'),
      limit: z.coerce.number().int().min(1).max(500).default(100),
      before: z.coerce.number().int().min(1).optional().describe('Cursor: `next` of the page before.'),
    }),
    output: z.object({
      items: z.array(auditEntrySchema),
      next: z.int().optional().describe('Where to go on; missing when all was seen.'),
    }),
    problems: [],
    http: { method: 'GET', path: '/audit' },
  }),
} as const;
