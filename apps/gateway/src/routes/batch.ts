import type { Readable } from 'node:stream';
import { ERROR_CODES, type ErrorCode, enqueueRequestSchema, JetlaneError } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ArraySplitter } from '../batch/array-splitter.js';
import { BatchRun, type BatchSummary } from '../batch/batch-run.js';
import { LineStream } from '../batch/line-stream.js';
import { NdjsonSplitter } from '../batch/ndjson-splitter.js';
import { ReadTexts } from '../batch/read-texts.js';
import { refuseIdempotencyKey } from './idempotency-key.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';
import { receiptSchema, receiptView } from './task-view.js';

const NDJSON = 'application/x-ndjson';
const line = z.int().describe('Line of the body, or place in the array, from 1.');
const lineErrorSchema = z.object({ line, code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]), detail: z.string() });

export const summarySchema = z
  .object({
    accepted: z.int().describe('Tasks that are stored, duplicates among them.'),
    duplicates: z.int().describe('Tasks whose task_id was used before.'),
    failed: z.int(),
    errors: z.array(lineErrorSchema).describe('The first 1000 errors.'),
  })
  .meta({ id: 'BatchSummary' });

const lineSchema = z.union([receiptSchema.extend({ line }), lineErrorSchema, z.object({ summary: summarySchema.omit({ errors: true }) })]);

/** `POST /api/queue/enqueue/batch` */
export function batchRoute(gateway: Gateway): ApiRoute {
  return {
    method: 'POST',
    path: '/api/queue/enqueue/batch',
    operationId: 'enqueueBatch',
    scope: 'produce',
    tag: 'tasks',
    summary: 'Enqueue many tasks',
    description:
      'A JSON array of tasks, or a task per line (NDJSON), of any length: the body is read as fast as tasks are stored. A bad line never stops the others. With `Accept: application/x-ndjson` every line is answered as it is stored, in no fixed order, and the last line is the summary; read the answer while you send.',
    body: {
      'application/json': { schema: z.array(enqueueRequestSchema) },
      [NDJSON]: {
        schema: z.string(),
        example: '{"queue_name":"default","task_type":"noop","task_data":1}\n{"queue_name":"default","task_type":"noop","task_data":2}\n',
      },
    },
    answers: {
      202: [
        { description: 'Everything was read; what became of it.', schema: summarySchema },
        { description: 'A line per task, then the summary.', schema: lineSchema, contentType: NDJSON },
      ],
    },
    problems: ['invalid-argument', 'invalid-json', 'unsupported-media-type', 'not-connected', 'request-timeout'],
    streams: true,
    handler: async (request, reply) => {
      refuseIdempotencyKey(request, 'give every task of the batch its own "task_id"');
      assertConnected(gateway);
      const isNdjson = (request.headers['content-type'] ?? '').startsWith(NDJSON);
      const source = new ReadTexts(readableOf(request), isNdjson ? new NdjsonSplitter() : new ArraySplitter());
      if ((request.headers.accept ?? '').includes(NDJSON)) return streamLines(gateway, source, request, reply);
      return summarize(gateway, source, request, reply);
    },
  };
}

function readableOf(request: FastifyRequest): Readable {
  if (!request.body) throw new JetlaneError('invalid-json', 'the body is empty; expected a JSON array or a task per line');
  return request.body as Readable;
}

async function summarize(
  gateway: Gateway,
  source: ReadTexts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<BatchSummary | undefined> {
  const run = new BatchRun(gateway.client, request.caller, { stored: (_line, receipt) => gateway.counter.stored(receipt) });
  const summary = await run.run(source);
  if (source.ending === 'aborted') {
    gateway.logger.info({ request: request.id, accepted: summary.accepted, failed: summary.failed }, 'batch:aborted');
    reply.hijack();
    reply.raw.destroy();
    return undefined;
  }
  if (source.ending instanceof JetlaneError) {
    if (run.read === 0) throw source.ending;
    run.broken(source.ending);
  }
  reply.code(202);
  return summary;
}

/** Answers line by line while the body is still being read; a caller that does not read its answers is not read either. */
async function streamLines(gateway: Gateway, source: ReadTexts, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const lines = new LineStream();
  reply.code(202).header('content-type', NDJSON).header('x-accel-buffering', 'no');
  void reply.send(lines.stream);
  const run = new BatchRun(
    gateway.client,
    request.caller,
    {
      stored: (line, receipt) => {
        gateway.counter.stored(receipt);
        lines.write({ line, ...receiptView(receipt) });
      },
      failed: (error) => lines.write(error),
    },
    () => lines.ready(),
  );
  await run.run(source);
  if (source.ending instanceof JetlaneError) run.broken(source.ending);
  const { errors: _listed, ...summary } = run.summary;
  lines.end({ summary });
  return reply;
}
