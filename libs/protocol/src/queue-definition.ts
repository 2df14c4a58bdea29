import { z } from 'zod';
import { durationSchema } from './duration.js';
import { JetlaneError } from './errors.js';
import type { Lane } from './lanes.js';
import { limitsSchema } from './limits.js';
import { retryPolicySchema } from './retry-policy.js';
import { isQueueName, isTaskType } from './task-id.js';

const DAY_MS = 86_400_000;
const weight = z.int().min(1).max(1000).optional();
const weights = z.strictObject({ critical: weight, high: weight, normal: weight, low: weight } satisfies Record<Lane, typeof weight>);
const slots = z.int().min(0).max(10_000).optional();
const reserved = z.strictObject({ critical: slots, high: slots, normal: slots } satisfies Record<Exclude<Lane, 'low'>, typeof slots>);

/** Schema of a queue definition as people write it. Every field but the name has a default. */
export const queueDefinitionSchema = z.strictObject({
  name: z.string().refine(isQueueName, 'expected [a-z0-9][a-z0-9_-]{0,63}'),
  description: z.string().max(500).optional(),
  defaultType: z.string().refine(isTaskType, 'expected a task type').optional().describe('Type of tasks that name none.'),
  workers: z.int().min(1).max(10_000).optional().describe('Slots of a worker host for this queue.'),
  mode: z.enum(['weighted', 'strict']).optional().describe('How lanes share slots. Default weighted.'),
  weights: weights.optional().describe('Weights of the lanes in mode weighted. Default 8:4:2:1.'),
  reserved: reserved
    .optional()
    .describe('Slots of each worker that only this lane and higher ones may use; one slot is always left for all. Default none.'),
  limits: limitsSchema.optional(),
  lease: durationSchema(1000, DAY_MS).optional().describe('How long a worker may be silent before its tasks go to others. Default 30s.'),
  maxDeliveries: z.int().min(3).max(100).optional().describe('Deliveries before the server gives up. Default 10.'),
  maxDepth: z.int().min(1).optional().describe('Most tasks per lane; beyond it enqueue answers queue-full. Default 10,000,000.'),
  maxBytes: z.int().min(1).optional().describe('Most bytes per lane. Default: no limit.'),
  maxPayload: z.int().min(1).optional().describe('Most bytes of a payload. Default 1 MiB.'),
  retry: retryPolicySchema.optional(),
  keepRecords: durationSchema(1000).optional().describe('How long the record of a finished task is kept. Default 24h.'),
  keepFailures: durationSchema(1000)
    .optional()
    .describe('How long the record of a dead or cancelled task is kept. Default: as keepRecords.'),
  maxRecords: z
    .int()
    .min(1)
    .optional()
    .describe('Most records of the queue; workers remove the oldest beyond it, whatever their age. Default: no limit of its own.'),
  keep: z
    .enum(['all', 'failures', 'none'])
    .optional()
    .describe(
      'Which outcomes leave a record. Default all. Without one, result() and status know nothing of a finished task, and a killed server may run it again.',
    ),
  keepPayload: z
    .boolean()
    .optional()
    .describe(
      'Records of completed and cancelled tasks keep their payload, up to 64 KiB, so that they can be run once more. Default false.',
    ),
  storage: z.enum(['file', 'memory']).optional(),
  replicas: z.int().min(1).max(5).optional(),
});

/** A queue as people define it. */
export type QueueDefinition = z.infer<typeof queueDefinitionSchema>;

/**
 * Checks a definition and reports all problems together.
 * @throws JetlaneError `invalid-configuration`, `details.issues` lists path and message of each
 */
export function parseQueueDefinition(input: unknown): QueueDefinition {
  const parsed = queueDefinitionSchema.safeParse(input);
  if (!parsed.success) throw configurationError('queue definition', parsed.error);
  return parsed.data;
}

/** A zod error as one typed error whose message lists every problem by field. */
export function configurationError(what: string, error: z.ZodError): JetlaneError {
  const issues = error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }));
  const text = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
  return new JetlaneError('invalid-configuration', `${what} is not valid: ${text}`, { details: { issues } });
}

/** The queues of a fresh installation. */
export const DEFAULT_QUEUES: readonly QueueDefinition[] = [
  { name: 'default', description: 'Tasks of no special urgency', workers: 2 },
  { name: 'high_priority', description: 'Tasks that people wait for', workers: 3 },
  { name: 'low_priority', description: 'Tasks that can wait', workers: 1 },
];

/** Constants of a lane that a definition may override. */
export const LANE_DEFAULTS = {
  leaseMs: 30_000,
  /** Redelivery delays after a crash, as multiples of the lease. */
  backoffFactors: [1, 1, 1, 2, 4],
  maxDeliveries: 10,
  maxAckPending: 5000,
  maxWaiting: 4096,
  maxDepth: 10_000_000,
  maxPayload: 1_048_576,
  keepRecordsMs: 86_400_000,
  duplicateWindowMs: 30_000,
} as const;
