import {
  type DeadLetterDetail,
  deadLetterCursor,
  deadLetterDetailSchema,
  deadLetterDetailView,
  deadLetterFilterFields,
  deadLetterFilterOf,
  JetlaneError,
} from '@jetlane/protocol';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { assertQueueNamed } from '../access/caller.js';
import { LineStream } from '../batch/line-stream.js';
import { validate } from '../http/validate.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const PATH = '/api/v1/dead-letters/export';
const NDJSON = 'application/x-ndjson';
const filterQuery = z.strictObject(deadLetterFilterFields);
const exportQuery = filterQuery.extend({ cursor: deadLetterCursor });
type Filter = z.output<typeof filterQuery>;

/**
 * `GET /api/v1/dead-letters/export`. No command: a command has one answer, which fits into one message of NATS; this one has no end that is known
 * when it begins, and is read as fast as the caller takes it. Filter and lines are those of the commands.
 */
export function deadLetterExportRoute(gateway: Gateway): ApiRoute {
  return {
    method: 'GET',
    path: PATH,
    operationId: 'deadLettersExport',
    scope: 'read',
    tag: 'dead-letters',
    summary: 'Export dead letters as NDJSON',
    description:
      'A line per dead letter, payload included, oldest first, read as fast as you take them. The last line is `{"summary":{…}}`; with `complete: false` it says what went wrong and the `cursor` to go on with. Without that line the export was cut off.',
    query: exportQuery,
    problems: ['invalid-argument', 'not-connected', 'request-timeout', 'no-responders', 'jetstream-api'],
    answers: { 200: [{ description: 'A line per dead letter, then the summary.', schema: deadLetterDetailSchema, contentType: NDJSON }] },
    handler: async (request, reply) => {
      const { cursor, ...filter } = validate(exportQuery, request.query, 'query');
      assertQueueNamed(request.caller, filter.queue_name, 'queue_name');
      assertConnected(gateway);
      return streamExport(gateway, filter, cursor ?? 0, reply);
    },
  };
}

/** What fails before the first line is a problem document; what fails later is told by the last line. */
async function streamExport({ client }: Gateway, filter: Filter, after: number, reply: FastifyReply): Promise<FastifyReply> {
  const letters = client.deadLetters.export(deadLetterFilterOf(filter), { after });
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
      lines.write(deadLetterDetailView(next.value));
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
