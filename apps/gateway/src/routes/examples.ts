import { enqueueRequestSchema } from '@jetlane/protocol';
import { z } from 'zod';
import { validate } from '../http/validate.js';
import { answerEnqueue, ENQUEUE_ANSWERS, ENQUEUE_PROBLEMS, waitQuery } from './enqueue.js';
import { idempotencyHeaders } from './idempotency-key.js';
import type { ApiRoute, Gateway } from './route.js';

const { queue_name, priority, delay, task_id } = enqueueRequestSchema.shape;
/** How an example is enqueued; every field has a default. */
const options = { queue_name: queue_name.optional(), priority, delay, task_id };

const text = (max: number) => z.string().min(1).max(max);
const credits = z.int().max(1_000_000_000_000);
const userId = text(128).describe('The user whose credits change.');

interface Example {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly taskType: string;
  readonly queue: string;
  readonly lane: 'high' | 'normal';
  readonly data: z.ZodObject;
  readonly example: Readonly<Record<string, unknown>>;
  /** A rule over several fields: the message of what is wrong. */
  readonly rule?: (data: Readonly<Record<string, unknown>>) => string | undefined;
}

const EXAMPLES: readonly Example[] = [
  {
    path: 'credit-purchase',
    operationId: 'creditPurchase',
    summary: 'Example: a user buys credits',
    taskType: 'credit_purchase',
    queue: 'high_priority',
    lane: 'high',
    data: z.strictObject({
      user_id: userId,
      amount: credits.positive().describe('Credits bought.'),
      price: z
        .union([z.number().nonnegative(), z.string().regex(/^\d{1,15}(\.\d{1,10})?$/, 'expected a decimal number such as "9.99"')])
        .optional(),
      currency: z
        .string()
        .regex(/^[A-Za-z]{3}$/, 'expected an ISO 4217 code such as "EUR"')
        .optional(),
      payment_id: text(200).optional().describe('A payment is credited once, whatever the number of tasks that name it.'),
    }),
    example: { user_id: 'user-1', amount: 100, price: 9.99, currency: 'EUR', payment_id: 'pay-1' },
  },
  {
    path: 'user-registration',
    operationId: 'userRegistration',
    summary: 'Example: a user signs up',
    taskType: 'user_registration',
    queue: 'default',
    lane: 'normal',
    data: z.strictObject({
      user_id: userId,
      name: text(200).optional(),
      email: z.email().max(320).optional(),
      initial_credits: credits.nonnegative().optional().describe('Default 0.'),
    }),
    example: { user_id: 'user-1', name: 'Ada', email: 'ada@example.com' },
  },
  {
    path: 'credit-update',
    operationId: 'creditUpdate',
    summary: 'Example: a balance is changed or set',
    taskType: 'credit_update',
    queue: 'default',
    lane: 'normal',
    data: z.strictObject({
      user_id: userId,
      delta: credits.min(-1_000_000_000_000).optional().describe('Added to the balance; negative to spend.'),
      set: credits.nonnegative().optional().describe('The new balance. Give either `delta` or `set`.'),
      reason: text(500).optional(),
    }),
    example: { user_id: 'user-1', delta: -30, reason: 'order 42' },
    rule: ({ delta, set }) => ((delta === undefined) === (set === undefined) ? 'give either "delta" or "set"' : undefined),
  },
];

/** The three example routes: typed bodies; they answer as `POST /api/queue/enqueue` does. */
export function exampleRoutes(gateway: Gateway): ApiRoute[] {
  return EXAMPLES.map((example) => exampleRoute(gateway, example));
}

function exampleRoute(gateway: Gateway, { path, operationId, summary, taskType, queue, lane, data, example, rule }: Example): ApiRoute {
  const shape = data.extend({ ...options, priority: priority.describe(`As in enqueue. Default ${lane.toUpperCase()}.`) });
  const schema = shape.superRefine((value, context) => {
    const message = rule?.(value);
    if (message) context.addIssue({ code: 'custom', message });
  });
  return {
    method: 'POST',
    path: `/api/queue/example/${path}`,
    operationId,
    scope: 'produce',
    tag: 'examples',
    summary,
    description: `Enqueues a \`${taskType}\` task. Default queue \`${queue}\`, default priority ${lane.toUpperCase()}.`,
    query: waitQuery,
    headers: idempotencyHeaders,
    body: { 'application/json': { schema, example } },
    answers: ENQUEUE_ANSWERS,
    problems: ENQUEUE_PROBLEMS,
    handler: (request, reply) => {
      const body = validate(schema, withDefault(request.body, 'priority', lane), 'body');
      const { queue_name = queue, priority, delay, task_id, ...task_data } = body as z.output<z.ZodObject<typeof options>>;
      return answerEnqueue(gateway, { queue_name, task_type: taskType, task_data, priority, delay, task_id }, request, reply);
    },
  };
}

const withDefault = (body: unknown, field: string, value: string): unknown =>
  typeof body === 'object' && body !== null && !Array.isArray(body) ? { [field]: value, ...body } : body;
