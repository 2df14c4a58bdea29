import { callCommand } from '@jetlane/nestjs/service';
import { COMMANDS, type Command, type ErrorCode, queuesOfInput } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { assertQueue, assertQueueNamed, type Caller, mayUse } from '../access/caller.js';
import { traceOfRequest } from '../http/trace.js';
import { assertDepth, validate } from '../http/validate.js';
import { idempotencyKey } from './idempotency-key.js';
import { asPrecondition, tagAnswer, withRevision } from './revisions.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const PREFIX = '/api/v1';
const SERVICE_PROBLEMS: readonly ErrorCode[] = [
  ...(['invalid-argument', 'not-connected', 'service-unavailable', 'request-timeout'] as const),
  ...(['jetstream-api', 'payload-too-large', 'no-responders', 'publish-timeout'] as const),
];
const BODY_PROBLEMS = ['invalid-json', 'unsupported-media-type', 'publisher-overloaded'] as const;

/** A request of a command whose input fits and whose caller may use the queues that it names. */
export interface CommandCall extends Input {
  readonly command: Command;
  readonly request: FastifyRequest;
}

/** How the gateway carries out a command in another way than by calling its service. */
export interface CommandRun {
  /** It finds out itself which queue is concerned, and throws `forbidden`. */
  readonly checksQueue?: true;
  run(gateway: Gateway, call: CommandCall): Promise<unknown>;
}

/**
 * A route for every command of the registry: its input comes from the path, the query or the body, by the names of its fields.
 * @param runs commands, by name, that the gateway carries out itself
 */
export function commandRoutes(
  gateway: Gateway,
  commands: readonly Command[] = COMMANDS,
  runs: Readonly<Record<string, CommandRun>> = {},
): ApiRoute[] {
  return commands.map((command) => commandRoute(gateway, command, runs[command.name] ?? BY_SERVICE));
}

const BY_SERVICE: CommandRun = {
  run: ({ connection }, { command, given, request }) =>
    callCommand(connection, command, given, request.caller.name, traceOfRequest(request)),
};

function commandRoute(gateway: Gateway, command: Command, { checksQueue, run }: CommandRun): ApiRoute {
  const { method, path, status = 200 } = command.http;
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  const { params, rest } = split(command.input, inPath);
  const fromQuery = method === 'GET' || method === 'DELETE';
  const empty = Object.keys(rest.shape).length === 0;
  const place = fromQuery || empty ? 'query' : 'body';
  const read = reader(command, { params, rest, place });
  return {
    method,
    path: PREFIX + path,
    url: PREFIX + path.replace(/\{(\w+)\}/g, ':$1'),
    operationId: operationId(command.name),
    tag: command.tag,
    scope: command.scope,
    summary: command.summary,
    description: command.description,
    ...(inPath.length > 0 ? { params } : {}),
    ...(place === 'query' ? { query: rest } : { body: { 'application/json': { schema: rest } }, ...bodyOptional(rest) }),
    ...headersOf(command),
    answers: answersOf(command, status),
    problems: problemsOf(command),
    handler: async (request, reply) => {
      const { given, input } = read(request);
      if (!checksQueue) assertQueues(request.caller, command, input);
      assertConnected(gateway);
      const result = await run(gateway, { command, given, input, request }).catch((error: unknown) => {
        throw asPrecondition(request, error);
      });
      return answer(command, result, request, reply.code(status));
    },
  };
}

interface Places {
  readonly params: z.ZodObject;
  readonly rest: z.ZodObject;
  readonly place: 'query' | 'body';
}

interface Input {
  /** As the caller wrote it. This is what the service gets: what its schema makes of text would not fit the schema a second time. */
  readonly given: Record<string, unknown>;
  /** As the schema reads it. */
  readonly input: Record<string, unknown>;
}

/** How the input of a command is put together from a request. */
function reader(command: Command, { params, rest, place }: Places): (request: FastifyRequest) => Input {
  const { input, http } = command;
  return (request) => {
    const inPath = validate(params, request.params, 'path');
    let given = ((place === 'query' ? request.query : request.body) ?? {}) as Record<string, unknown>;
    if (http.revisions && http.method !== 'GET' && 'revision' in input.shape && isObject(given)) given = withRevision(request, given);
    if ('idempotency_key' in input.shape && isObject(given)) given = withKey(request, given);
    assertDepth(given, place);
    const checked = validate(rest, given, place);
    return { given: { ...given, ...(request.params as Record<string, unknown>) }, input: { ...checked, ...inPath } };
  };
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

function withKey(request: FastifyRequest, given: Record<string, unknown>): Record<string, unknown> {
  const { idempotency_key: inBody } = given;
  if (inBody !== undefined && typeof inBody !== 'string') return given;
  const key = idempotencyKey(request, inBody);
  return key === undefined ? given : { ...given, idempotency_key: key };
}

/** @throws JetlaneError `forbidden` */
function assertQueues(caller: Caller, command: Command, input: Readonly<Record<string, unknown>>): void {
  if (caller.queues === undefined) return;
  const named = queuesOfInput(command, input);
  for (const queue of named) assertQueue(caller, queue);
  if (named.length === 0 && !command.visible) assertQueueNamed(caller, undefined, 'queue');
}

function answer(command: Command, result: unknown, request: FastifyRequest, reply: FastifyReply): unknown {
  const { caller } = request;
  const named = caller.queues && command.visible ? command.visible(result, (queue) => mayUse(caller, queue)) : result;
  const { job } = command.http;
  const begun = job && (result as { job_id?: unknown } | null)?.job_id;
  if (typeof begun === 'string') void reply.code(202).header('location', PREFIX + job!.path.replace('{job_id}', begun));
  const revision = (named as { revision?: unknown } | null)?.revision;
  if (!command.http.revisions || typeof revision !== 'number' || !tagAnswer(request, reply, revision)) return named;
  void reply.code(304).send();
  return reply;
}

/** The fields that the path names, and the others. */
function split({ shape }: z.ZodObject, inPath: readonly string[]): Pick<Places, 'params' | 'rest'> {
  const of = (inside: boolean) => Object.fromEntries(Object.entries(shape).filter(([name]) => inPath.includes(name) === inside));
  return { params: z.object(of(true)), rest: z.strictObject(of(false)) };
}

/** A body without a required field may be left out. */
const bodyOptional = (rest: z.ZodObject): { bodyOptional?: true } => (rest.safeParse({}).success ? { bodyOptional: true } : {});

function headersOf({ http, input }: Command): { headers?: z.ZodObject } {
  const shape: Record<string, z.ZodType> = {};
  if (http.revisions && http.method === 'GET')
    shape['If-None-Match'] = z.string().optional().describe('`ETag` that is known: 304 when it still holds.');
  if (http.revisions && 'revision' in input.shape)
    shape['If-Match'] = z.string().optional().describe('`ETag` of the record that the change is meant for: 412 when it is another by now.');
  if ('idempotency_key' in input.shape) shape['Idempotency-Key'] = z.string().optional().describe('As the field `idempotency_key`.');
  return Object.keys(shape).length > 0 ? { headers: z.object(shape) } : {};
}

function answersOf({ http, summary, output }: Command, status: number): ApiRoute['answers'] {
  const unchanged: ApiRoute['answers'] =
    http.revisions && http.method === 'GET' ? { 304: [{ description: 'As `If-None-Match` says.', schema: z.never() }] } : {};
  const begun: ApiRoute['answers'] = http.job ? { 202: [{ description: 'The job that does it.', schema: http.job.schema }] } : {};
  return { [status]: [{ description: summary, schema: output }], ...begun, ...unchanged };
}

function problemsOf({ http, input, problems }: Command): readonly ErrorCode[] {
  const conditional = http.revisions && 'revision' in input.shape ? (['wrong-sequence', 'revision-conflict'] as const) : [];
  const bodies = http.method === 'GET' || http.method === 'DELETE' ? [] : BODY_PROBLEMS;
  return [...new Set([...SERVICE_PROBLEMS, ...bodies, ...conditional, ...problems])];
}

/** `queues.list` → `queuesList` */
const operationId = (name: string): string => name.replace(/[.-](\w)/g, (_, letter: string) => letter.toUpperCase());
