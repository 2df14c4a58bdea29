import { callCommand } from '@jetlane/nestjs/service';
import { COMMANDS, type Command, JetlaneError } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { validate } from '../http/validate.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const PREFIX = '/api/v1';
const SERVICE_PROBLEMS = ['invalid-argument', 'not-connected', 'service-unavailable', 'request-timeout'] as const;

/** A route for every command of the registry: its input comes from the path, the query or the body, by the names of its fields. */
export function commandRoutes(gateway: Gateway): ApiRoute[] {
  return COMMANDS.map((command) => commandRoute(gateway, command));
}

function commandRoute(gateway: Gateway, command: Command): ApiRoute {
  const { method, path, status = 200 } = command.http;
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  const { params, rest } = split(command.input, inPath);
  const fromQuery = method === 'GET' || method === 'DELETE';
  const empty = Object.keys(rest.shape).length === 0;
  return {
    method,
    path: PREFIX + path,
    url: PREFIX + path.replace(/\{(\w+)\}/g, ':$1'),
    operationId: operationId(command.name),
    tag: command.tag,
    summary: command.summary,
    description: command.description,
    ...(inPath.length > 0 ? { params } : {}),
    ...(fromQuery || empty
      ? { query: rest }
      : { body: { 'application/json': { schema: rest } }, ...(rest.safeParse({}).success ? { bodyOptional: true as const } : {}) }),
    answers: { [status]: [{ description: command.summary, schema: command.output }] },
    problems: [...SERVICE_PROBLEMS, ...command.problems],
    handler: async (request, reply) => {
      const given = fromQuery || empty ? validate(rest, request.query, 'query') : validate(rest, request.body ?? {}, 'body');
      const input = { ...given, ...validate(params, request.params, 'path'), ...(command.http.revisions ? ifMatch(request) : {}) };
      assertConnected(gateway);
      const result = await callCommand(gateway.connection, command, input, callerOf(request));
      return answer(command, result, reply.code(status));
    },
  };
}

/** The fields that the path names, and the others. */
function split({ shape }: z.ZodObject, inPath: readonly string[]): { params: z.ZodObject; rest: z.ZodObject } {
  const of = (inside: boolean) => Object.fromEntries(Object.entries(shape).filter(([name]) => inPath.includes(name) === inside));
  return { params: z.object(of(true)), rest: z.strictObject(of(false)) };
}

/** `queues.list` → `queuesList` */
const operationId = (name: string): string => name.replace(/[.-](\w)/g, (_, letter: string) => letter.toUpperCase());

/**
 * The revision that `If-Match` names; it wins over the body's.
 * @throws JetlaneError `invalid-argument` for what is no ETag of ours
 */
function ifMatch({ headers, method }: FastifyRequest): { revision?: number } {
  const given = headers['if-match'];
  if (given === undefined || given === '*' || method === 'GET') return {};
  const [, revision] = /^"(\d{1,15})"$/.exec(given.trim()) ?? [];
  if (revision !== undefined) return { revision: Number(revision) };
  throw new JetlaneError('invalid-argument', 'expected If-Match to be the ETag of a definition, as in "17"', {
    details: { field: 'If-Match' },
  });
}

const callerOf = (request: FastifyRequest): string => `http ${request.ip}`;

function answer(command: Command, result: unknown, reply: FastifyReply): unknown {
  const revision = (result as { revision?: number } | null)?.revision;
  if (command.http.revisions && revision !== undefined) reply.header('etag', `"${revision}"`);
  return result;
}
