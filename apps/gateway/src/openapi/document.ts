import { ERROR_CODES, type ErrorCode } from '@jetlane/protocol';
import type { OpenAPIObject } from '@nestjs/swagger';
import { z } from 'zod';
import type { ApiRoute, RouteAnswer } from '../routes/route.js';

type JsonSchema = Record<string, unknown>;

/** Codes that every route of the API may answer. */
const COMMON: readonly ErrorCode[] = ['unauthorized', 'forbidden', 'rate-limited', 'service-unavailable', 'internal'];

const codes = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];
const problemSchema = z
  .object({
    type: z.string().describe('`urn:jetlane:problem:<code>`'),
    title: z.string(),
    status: z.int(),
    code: z.enum(codes).describe('Stable; decide by this.'),
    detail: z.string().describe('What failed, on what, and the next step.'),
    instance: z.string(),
    request_id: z.string().describe('Also in the header X-Request-Id and in the log of the gateway.'),
    retryable: z.boolean().describe('The same request may succeed later without a change.'),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe('The fields that are wrong.'),
    suggestion: z.string().optional().describe('What was probably meant.'),
  })
  .describe(`RFC 9457 problem document.\n\n${codeTable()}`);

/** The description of the API, made from the same schemas that check the requests. */
export function openApiDocument(routes: readonly ApiRoute[], needsKey: boolean): OpenAPIObject {
  const schemas: Record<string, JsonSchema> = { Problem: jsonSchema(problemSchema, 'output') };
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route, schemas) };
  }
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'Jetlane gateway',
      version: '0.1.0',
      description: `Durable task queue on NATS JetStream. Errors are RFC 9457 problem documents with a stable \`code\`; the schema Problem lists all of them.`,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'tasks', description: 'Enqueue tasks and look them up' },
      { name: 'queues', description: 'Queues and their figures' },
      { name: 'workers', description: 'Workers and what they run' },
      { name: 'jobs', description: 'Work on whole queues, as it goes' },
      { name: 'audit', description: 'What operators did' },
      { name: 'dead-letters', description: 'Tasks that were given up: list, export, send back, throw away' },
      { name: 'examples', description: 'Typed examples; they answer as enqueue does' },
    ],
    paths,
    components: {
      schemas,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' } },
    },
    security: needsKey ? [{ bearer: [] }, { apiKey: [] }] : [],
  };
  return document as unknown as OpenAPIObject;
}

function operation(route: ApiRoute, schemas: Record<string, JsonSchema>): JsonSchema {
  const { operationId, tag, scope, summary, description } = route;
  const content = Object.entries(route.body ?? {}).map(([type, { schema, example }]) => [
    type,
    { schema: jsonSchema(schema, 'input'), ...(example === undefined ? {} : { example }) },
  ]);
  return {
    operationId,
    tags: [tag],
    summary,
    description: `${description}\n\nScope: \`${scope}\`.`,
    parameters: [...parameters(route.params, 'path'), ...parameters(route.query, 'query'), ...parameters(route.headers, 'header')],
    ...(route.body ? { requestBody: { required: !route.bodyOptional, content: Object.fromEntries(content) } } : {}),
    responses: { ...answers(route, schemas), ...problems([...route.problems, ...COMMON]) },
  };
}

function parameters(schema: z.ZodObject | undefined, place: 'path' | 'query' | 'header'): JsonSchema[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = jsonSchema(schema, 'input') as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    description,
    schema: rest,
  }));
}

function answers(route: ApiRoute, schemas: Record<string, JsonSchema>): JsonSchema {
  const entries = Object.entries(route.answers).map(([status, list]) => {
    const content = Object.fromEntries(
      list.map((answer) => [answer.contentType ?? 'application/json', { schema: named(answer, schemas) }]),
    );
    const bare = Number(status) === 304;
    return [status, { description: list.map(({ description }) => description).join(' '), ...(bare ? {} : { content }) }];
  });
  return Object.fromEntries(entries) as JsonSchema;
}

/** A schema with an id stands once among the components. */
function named({ schema }: RouteAnswer, schemas: Record<string, JsonSchema>): JsonSchema {
  const id = schema.meta()?.id as string | undefined;
  if (!id) return jsonSchema(schema, 'output');
  schemas[id] ??= jsonSchema(schema, 'output');
  return { $ref: `#/components/schemas/${id}` };
}

function problems(list: readonly ErrorCode[]): JsonSchema {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of list) {
    const { status } = ERROR_CODES[code];
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(code));
  }
  return Object.fromEntries([...byStatus].sort(([a], [b]) => a - b).map(([status, group]) => [status, problemAnswer(status, [...group])]));
}

function problemAnswer(status: number, list: readonly ErrorCode[]): JsonSchema {
  const passing = status === 429 || status === 503;
  return {
    description: list.map((code) => `\`${code}\`: ${ERROR_CODES[code].title}`).join('; '),
    ...(passing ? { headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } } } : {}),
    content: {
      'application/problem+json': {
        schema: { allOf: [{ $ref: '#/components/schemas/Problem' }, { properties: { code: { enum: list } } }] },
      },
    },
  };
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _dialect, id: _id, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' }) as JsonSchema;
  return rest;
}

function codeTable(): string {
  const rows = Object.entries(ERROR_CODES).map(
    ([code, { status, retryable, title }]) => `| \`${code}\` | ${status} | ${retryable ? 'yes' : 'no'} | ${title} |`,
  );
  return ['| code | status | retryable | meaning |', '|---|---|---|---|', ...rows].join('\n');
}
