import { z } from 'zod';
import { type Duration, durationSchema, toMs } from './duration.js';
import { JetlaneError } from './errors.js';
import type { Lane } from './lanes.js';
import { limitsSchema } from './limits.js';
import { retryPolicySchema } from './retry-policy.js';
import { isQueueName, isTaskType } from './task-id.js';

const DAY_MS = 86_400_000;
/** A duration that cannot be read is reported by its own field. */
const ms = (value: Duration): number => (durationSchema().safeParse(value).success ? toMs(value) : Number.NaN);
const weight = z.int().min(1).max(1000).optional();
const weights = z.strictObject({ critical: weight, high: weight, normal: weight, low: weight } satisfies Record<Lane, typeof weight>);
const slots = z.int().min(0).max(10_000).optional();
const reserved = z.strictObject({ critical: slots, high: slots, normal: slots } satisfies Record<Exclude<Lane, 'low'>, typeof slots>);

/** Schema of a queue definition as people write it. Every field but the name has a default. */
export const queueDefinitionSchema = z.strictObject({
  name: z.string().refine(isQueueName, 'expected [a-z0-9][a-z0-9_-]{0,63}'),
  description: z.string().max(500).optional(),
  defaultType: z.string().refine(isTaskType, 'expected a task type').optional().describe('Type of tasks that name none.'),
  discipline: z
    .enum(['priority', 'fifo'])
    .optional()
    .describe('Who is next: `priority` by lanes, `fifo` in the order of arrival, all tasks in lane `normal`. Default priority.'),
  workers: z.int().min(1).max(10_000).optional().describe('Workers that a worker host stands for. Default 1.'),
  concurrency: z
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .describe('Handlers that each of these workers runs at once. Default: WORKER_CONCURRENCY of the worker host, 10.'),
  paused: z.boolean().optional().describe('true: nothing is handed out; false: it is. Left out: as the commands pause and resume left it.'),
  mode: z.enum(['weighted', 'strict']).optional().describe('How lanes share slots. Default weighted.'),
  weights: weights.optional().describe('Weights of the lanes in mode weighted. Default 8:4:2:1.'),
  reserved: reserved
    .optional()
    .describe('Slots of each worker that only this lane and higher ones may use; one slot is always left for all. Default none.'),
  limits: limitsSchema.optional(),
  lease: durationSchema(1000, DAY_MS).optional().describe('How long a worker may be silent before its tasks go to others. Default 30s.'),
  maxDeliveries: z.int().min(3).max(100).optional().describe('Deliveries before the server gives up. Default 10.'),
  maxDepth: z
    .int()
    .min(1)
    .optional()
    .describe(
      'Most tasks per lane (in topology compact four times as many in the queue); beyond it enqueue answers queue-full. Default 10,000,000.',
    ),
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
  dropBehavior: z
    .enum(['reject-new', 'drop-oldest'])
    .optional()
    .describe('What a full lane does: refuse the new task, or cancel (reason `dropped`) the oldest that nobody holds. Default reject-new.'),
  storage: z
    .enum(['file', 'memory'])
    .optional()
    .describe('`memory` is lost when all servers that hold it stop. A change is a migration, see docs/queues.md. Default file.'),
  compression: z.enum(['none', 's2']).optional().describe('Of what is stored in files from then on. Default none.'),
  replicas: z.int().min(1).max(5).optional().describe("Copies of each lane. Default: the installation's JETLANE_REPLICAS."),
  sla: z
    .strictObject({ warning: durationSchema(1).optional(), critical: durationSchema(1).optional() })
    .refine(({ warning, critical }) => warning === undefined || critical === undefined || ms(warning) <= ms(critical), {
      path: ['critical'],
      message: 'expected to be no less than warning',
    })
    .optional()
    .describe('How long a task may wait before it is a warning, or critical. Default: SLA_WARNING_THRESHOLD, SLA_CRITICAL_THRESHOLD.'),
});

/** A queue as people define it. */
export type QueueDefinition = z.infer<typeof queueDefinitionSchema>;

/**
 * Checks a definition and reports all problems together.
 * @throws JetlaneError `invalid-configuration`, `details.issues` lists path and message of each
 */
export function parseQueueDefinition(input: unknown): QueueDefinition {
  const parsed = queueDefinitionSchema.safeParse(input);
  if (!parsed.success) throw configurationError(labelOf(input), parsed.error);
  return parsed.data;
}

/** Of many definitions a reader wants to know which one it is. */
function labelOf(input: unknown): string {
  const name = (input as { readonly name?: unknown } | null | undefined)?.name;
  return typeof name === 'string' && isQueueName(name) ? `definition of queue "${name}"` : 'queue definition';
}

/** A zod error as one typed error whose message lists every problem by field. */
export function configurationError(what: string, error: z.ZodError): JetlaneError {
  const issues = error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }));
  const text = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
  return new JetlaneError('invalid-configuration', `${what} is not valid: ${text}`, { details: { issues } });
}

/**
 * Handlers that a worker host runs at once for a queue; undefined where nobody says.
 * @param each handlers of each of its `workers`, where the definition does not say
 * @param most what each of them never goes beyond
 */
export function slotsOf({ workers, concurrency }: QueueDefinition, each?: number, most = Number.POSITIVE_INFINITY): number | undefined {
  const stated = concurrency ?? each;
  return workers === undefined && stated === undefined ? undefined : (workers ?? 1) * Math.min(stated ?? 1, most);
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
