import type { DeadLetterDetail } from '@jetlane/protocol';
import { DEAD_LETTER_LIMITS, JetlaneError } from '@jetlane/protocol';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { assertQueueNamed, assertTask } from '../access/caller.js';
import { LineStream } from '../batch/line-stream.js';
import { validate } from '../http/validate.js';
import { type ApiFilter, detailSchema, detailView, filterOf, filterShape, letterView, pageSchema } from './dead-letter-view.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

export const DEAD_LETTERS = '/api/v1/dead-letters';
const NDJSON = 'application/x-ndjson';

const whole = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, `expected a whole number from ${least} to ${most}`)
    .transform(Number)
    .refine((value) => value >= least && value <= most, `expected a whole number from ${least} to ${most}`);

const cursor = whole(0, Number.MAX_SAFE_INTEGER).optional().describe('`cursor` of the page before.');
const limit = whole(1, DEAD_LETTER_LIMITS.longestPage).optional().describe('1 to 1000. Default 100.');
const listQuery = z.strictObject({ ...filterShape, limit, cursor });
const exportQuery = z.strictObject({ ...filterShape, cursor });
const params = z.object({ task_id: z.string().describe('`<queue>.<key>`') });

/** Codes that every look at dead letters may answer. */
export const READ_PROBLEMS = ['invalid-argument', 'not-connected', 'request-timeout', 'no-responders', 'jetstream-api'] as const;

/** `GET /api/v1/dead-letters`, `…/export` and `…/{task_id}` */
export function deadLetterRoutes(gateway: Gateway): ApiRoute[] {
  const common = { method: 'GET', tag: 'dead-letters', problems: READ_PROBLEMS } as const;
  return [
    {
      ...common,
      path: DEAD_LETTERS,
      operationId: 'listDeadLetters',
      scope: 'read',
      summary: 'List dead letters',
      description:
        'Oldest first. All conditions must hold. What a page reads is bounded (10,000 dead letters): with a filter of type, fingerprint or reason it may be empty and still have a `cursor` to go on with.',
      query: listQuery,
      answers: { 200: [{ description: 'A page.', schema: pageSchema }] },
      handler: async (request) => {
        const { limit, cursor, ...filter } = validate(listQuery, request.query, 'query');
        assertQueueNamed(request.caller, filter.queue_name, 'queue_name');
        assertConnected(gateway);
        const page = await gateway.client.deadLetters.list(filterOf(filter), {
          limit: limit ?? DEAD_LETTER_LIMITS.page,
          after: cursor ?? 0,
        });
        return { items: page.items.map((letter) => letterView(letter)), cursor: page.next, scanned: page.scanned, total: page.total };
      },
    },
    {
      ...common,
      path: `${DEAD_LETTERS}/export`,
      operationId: 'exportDeadLetters',
      scope: 'read',
      summary: 'Export dead letters as NDJSON',
      description:
        'A line per dead letter, payload included, oldest first, read as fast as you take them. The last line is `{"summary":{…}}`; with `complete: false` it says what went wrong and the `cursor` to go on with. Without that line the export was cut off.',
      query: exportQuery,
      answers: { 200: [{ description: 'A line per dead letter, then the summary.', schema: detailSchema, contentType: NDJSON }] },
      handler: async (request, reply) => {
        const { cursor, ...filter } = validate(exportQuery, request.query, 'query');
        assertQueueNamed(request.caller, filter.queue_name, 'queue_name');
        assertConnected(gateway);
        return streamExport(gateway, filter, cursor ?? 0, reply);
      },
    },
    {
      ...common,
      path: `${DEAD_LETTERS}/{task_id}`,
      // As for status: named parameters are cut off at 100 characters.
      url: `${DEAD_LETTERS}/*`,
      operationId: 'getDeadLetter',
      scope: 'read',
      summary: 'Show a dead letter',
      description: 'With its payload and with the stacks of its errors.',
      params,
      problems: [...READ_PROBLEMS, 'dead-letter-not-found'],
      answers: { 200: [{ description: 'The dead letter.', schema: detailSchema }] },
      handler: async (request) => {
        const id = (request.params as { '*': string })['*'];
        assertTask(request.caller, id);
        assertConnected(gateway);
        return detailView(await gateway.client.deadLetters.get(id));
      },
    },
  ];
}

/** What fails before the first line is a problem document; what fails later is told by the last line. */
async function streamExport({ client }: Gateway, filter: ApiFilter, after: number, reply: FastifyReply): Promise<FastifyReply> {
  const letters = client.deadLetters.export(filterOf(filter), { after });
  const first = await letters.next();
  const lines = new LineStream();
  reply.header('content-type', NDJSON).header('x-accel-buffering', 'no');
  void reply.send(lines.stream);
  void writeLines(lines, letters, first, after);
  return reply;
}

async function writeLines(
  lines: LineStream,
  letters: AsyncGenerator<DeadLetterDetail, void>,
  first: IteratorResult<DeadLetterDetail, void>,
  after: number,
): Promise<void> {
  let [exported, cursor] = [0, after];
  try {
    for (let next = first; !next.done; next = await letters.next()) {
      lines.write(detailView(next.value));
      exported++;
      cursor = next.value.sequence;
      await lines.ready();
      if (lines.stream.destroyed) return;
    }
    lines.end({ summary: { exported, complete: true } });
  } catch (error) {
    const { code, message } = error instanceof JetlaneError ? error : { code: 'internal', message: 'the export broke off' };
    lines.end({ summary: { exported, complete: false, cursor, error: { code, detail: message } } });
  } finally {
    await letters.return();
  }
}
