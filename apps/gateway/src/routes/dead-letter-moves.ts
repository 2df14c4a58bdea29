import { discardSchema, JetlaneError, type RedriveInput, redriveSchema } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { assertQueueNamed, assertTask, type Caller } from '../access/caller.js';
import type { FieldProblem } from '../http/problem.js';
import { assertDepth, validate } from '../http/validate.js';
import { filterOf, filterSchema, jobSchema, jobView, letterView, previewSchema } from './dead-letter-view.js';
import { DEAD_LETTERS } from './dead-letters.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const { lane, all, rate, after, base64, contentType, dryRun } = redriveSchema.shape;
const task_id = z.string().optional().describe('One dead letter.');
const selection = {
  task_id,
  filter: filterSchema.optional().describe('All that fit: starts a job.'),
  all,
  rate,
  cursor: after,
  dry_run: dryRun,
};

const redriveBody = z.strictObject({
  ...selection,
  lane,
  task_data: z.unknown().optional().describe('Another payload. For one dead letter only.'),
  base64,
  content_type: contentType,
});
const discardBody = z.strictObject(selection);

const redrivenSchema = z
  .object({
    task_id: z.string(),
    hop: z.int().describe('Hop under which the task lives again.'),
    lane: z.string(),
    duplicate: z.boolean().describe('It had been sent back before: now only the dead letter was removed.'),
    dry_run: z.literal(true).optional(),
  })
  .meta({ id: 'Redriven' });
const discardedSchema = z
  .object({ task_id: z.string(), discarded: z.boolean(), dry_run: z.literal(true).optional() })
  .meta({ id: 'Discarded' });

/** Problems of whatever the resiliency service carries out. */
export const SERVICE_PROBLEMS = ['invalid-argument', 'not-connected', 'service-unavailable', 'jetstream-api'] as const;
const MOVE_PROBLEMS = [...SERVICE_PROBLEMS, 'invalid-json', 'dead-letter-not-found', 'too-many-jobs'] as const;

/** `POST /api/v1/dead-letters/redrive`, `…/discard` and `DELETE …/{task_id}` */
export function deadLetterMoveRoutes(gateway: Gateway): ApiRoute[] {
  const accepted = { 202: [{ description: 'The job that does it.', schema: jobSchema }] };
  return [
    {
      method: 'POST',
      path: `${DEAD_LETTERS}/redrive`,
      operationId: 'redriveDeadLetters',
      scope: 'operate',
      tag: 'dead-letters',
      summary: 'Send dead letters back to their lanes',
      description:
        'One by `task_id`: 200, it is in its lane and the dead letter is gone. Many by `filter`: 202 with a job; it covers what is there now, at most `rate` a second, and a full lane stops it. `dry_run` tells what would be done.',
      body: {
        'application/json': {
          schema: redriveBody,
          example: { filter: { queue_name: 'default', reason: 'attempts-exhausted' }, rate: 50, dry_run: true },
        },
      },
      answers: {
        200: [{ description: 'Done, or with `dry_run` what would be.', schema: z.union([redrivenSchema, previewSchema]) }],
        ...accepted,
      },
      problems: [...MOVE_PROBLEMS, 'unknown-queue', 'queue-full', 'payload-too-large', 'publish-timeout', 'no-responders'],
      handler: (request, reply) => redrive(gateway, request, reply),
    },
    {
      method: 'POST',
      path: `${DEAD_LETTERS}/discard`,
      operationId: 'discardDeadLetters',
      scope: 'operate',
      tag: 'dead-letters',
      summary: 'Throw dead letters away',
      description:
        'For good: one by `task_id`, or many by `filter`, as a job. The status of such a task stays `dead`. Every discard is a line in the log of the resiliency service.',
      body: { 'application/json': { schema: discardBody, example: { task_id: 'default.order-17' } } },
      answers: {
        200: [{ description: 'Done, or with `dry_run` what would be.', schema: z.union([discardedSchema, previewSchema]) }],
        ...accepted,
      },
      problems: MOVE_PROBLEMS,
      handler: (request, reply) => discard(gateway, request, reply),
    },
    {
      method: 'DELETE',
      path: `${DEAD_LETTERS}/{task_id}`,
      url: `${DEAD_LETTERS}/*`,
      operationId: 'discardDeadLetter',
      scope: 'operate',
      tag: 'dead-letters',
      summary: 'Throw one dead letter away',
      description: 'For good. The status of the task stays `dead`.',
      params: z.object({ task_id: z.string().describe('`<queue>.<key>`') }),
      answers: { 200: [{ description: 'Done.', schema: discardedSchema }] },
      problems: [...SERVICE_PROBLEMS, 'dead-letter-not-found'],
      handler: async (request) => {
        const id = (request.params as { '*': string })['*'];
        assertTask(request.caller, id);
        assertConnected(gateway);
        await gateway.client.deadLetters.discard(id, { by: askedBy(request) });
        return { task_id: id, discarded: true };
      },
    },
  ];
}

async function redrive(gateway: Gateway, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const body = validate(redriveBody, request.body, 'body');
  const { task_data, content_type, base64 } = body;
  const edits = { ...(Object.hasOwn(body, 'task_data') ? { data: task_data } : {}), ...defined({ base64, contentType: content_type }) };
  const input = checked(redriveSchema, { ...command(body), ...defined({ lane: body.lane }), ...edits });
  assertDepth(task_data, 'task_data');
  assertSelection(request.caller, input);
  assertConnected(gateway);
  const { deadLetters } = gateway.client;
  const { id, filter, lane, rate, after, all, dryRun } = input;
  if (id === undefined) {
    const options = defined({ lane, rate, after, all, by: askedBy(request) });
    if (dryRun) return preview(await deadLetters.previewRedriveAll(filter ?? {}, options));
    return accept(reply, await deadLetters.redriveAll(filter ?? {}, options));
  }
  const options = { ...defined({ lane, by: askedBy(request) }), ...payloadOf(input) };
  const { dryRun: dry_run, id: redriven, ...answer } = await deadLetters[dryRun ? 'previewRedrive' : 'redrive'](id, options);
  return { task_id: redriven, ...answer, ...defined({ dry_run }) };
}

async function discard(gateway: Gateway, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const input = checked(discardSchema, command(validate(discardBody, request.body, 'body')));
  assertSelection(request.caller, input);
  assertConnected(gateway);
  const { id, filter, rate, after, all, dryRun } = input;
  const { deadLetters } = gateway.client;
  if (id === undefined) {
    const options = defined({ rate, after, all, by: askedBy(request) });
    if (dryRun) return preview(await deadLetters.previewDiscardAll(filter ?? {}, options));
    return accept(reply, await deadLetters.discardAll(filter ?? {}, options));
  }
  // Throws when there is none.
  if (dryRun) return { task_id: (await deadLetters.get(id)).id, discarded: false, dry_run: true };
  return { task_id: (await deadLetters.discard(id, { by: askedBy(request) })).id, discarded: true };
}

/** @throws JetlaneError `forbidden` */
function assertSelection(caller: Caller, { id, filter }: Pick<RedriveInput, 'id' | 'filter'>): void {
  if (id === undefined) assertQueueNamed(caller, filter?.queue, 'filter.queue_name');
  else assertTask(caller, id);
}

/** Who asks, for the log of the service and for the job. */
const askedBy = ({ caller, id }: FastifyRequest): string => `${caller.name}, request ${id}`;

function accept(reply: FastifyReply, job: Parameters<typeof jobView>[0]): unknown {
  reply.code(202).header('location', `${DEAD_LETTERS}/jobs/${job.id}`);
  return jobView(job);
}

function preview({ matched, sample, next }: Awaited<ReturnType<Gateway['client']['deadLetters']['previewRedriveAll']>>): unknown {
  return { dry_run: true, matched, sample: sample.map((letter) => ({ ...letterView(letter), problem: letter.problem })), cursor: next };
}

type Selection = z.output<typeof discardBody>;

/** The selection as the command writes it. */
function command({ task_id: id, filter, all, rate, cursor: after, dry_run: dryRun }: Selection): object {
  return defined({ id, filter: filter && filterOf(filter), all, rate, after, dryRun });
}

function payloadOf(input: RedriveInput): { data?: unknown; contentType?: string } {
  if (Object.hasOwn(input, 'data')) return { data: input.data };
  return input.base64 === undefined ? {} : { data: Buffer.from(input.base64, 'base64'), ...defined({ contentType: input.contentType }) };
}

/** Fields of the command by their names in the API. */
const API_NAMES: Readonly<Record<string, string>> = { id: 'task_id', data: 'task_data', contentType: 'content_type', after: 'cursor' };

/** The rules over several fields are the command's own. @throws JetlaneError `invalid-argument`, in the words of the API */
function checked<S extends z.ZodType>(schema: S, input: object): z.output<S> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const issues: FieldProblem[] = parsed.error.issues.map(({ path, message }) => {
    const field = path.map(String).join('.');
    return {
      path: API_NAMES[field] ?? field,
      message: message.replaceAll(/"(id|data|contentType)"/g, (_, name: string) => `"${API_NAMES[name]}"`),
    };
  });
  throw new JetlaneError(
    'invalid-argument',
    `the body is not valid: ${issues.map(({ path, message }) => `${path}: ${message}`).join('; ')}`,
    {
      details: { issues },
    },
  );
}

/** Without the fields that are undefined. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
