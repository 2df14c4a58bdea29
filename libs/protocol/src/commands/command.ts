import type { z } from 'zod';
import type { ErrorCode } from '../errors.js';

/** What a caller must be allowed to do. `operate` holds `read`, `admin` holds all; `produce` holds nothing else. */
export const SCOPES = ['produce', 'read', 'operate', 'admin'] as const;
/** One of {@link SCOPES}. */
export type Scope = (typeof SCOPES)[number];

const HOLDS: Readonly<Record<Scope, readonly Scope[]>> = {
  produce: ['produce'],
  read: ['read'],
  operate: ['operate', 'read'],
  admin: SCOPES,
};

/** All scopes that the given ones hold. */
export function heldScopes(given: Iterable<Scope>): ReadonlySet<Scope> {
  return new Set([...given].flatMap((scope) => HOLDS[scope]));
}

/** Where a command is found over HTTP. */
export interface CommandRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As OpenAPI writes it, under `/api/v1`: `/queues/{queue}/pause`. Fields of the input that it names come from the path, the others from the query (GET, DELETE) or the body. */
  readonly path: string;
  /** Default 200. */
  readonly status?: 200 | 201 | 202;
  /** Some inputs begin a job, which the answer then is: 202, with this path as `Location`; `{job_id}` is that of the answer. */
  readonly job?: { readonly path: string; readonly schema: z.ZodType };
  /** The input field `revision` may be given as `If-Match`, and the output's field `revision` is sent as `ETag`. */
  readonly revisions?: true;
}

/** One thing that can be asked of the platform: HTTP, NATS and the command line share its name, its validation and its errors. */
export interface Command<I extends z.ZodObject = z.ZodObject, O extends z.ZodType = z.ZodType> {
  /** `<noun>.<verb>`, as in `queues.pause`; last tokens of the subject that answers it. */
  readonly name: string;
  /** Service that answers it. */
  readonly service: 'queue-manager' | 'resiliency' | 'scheduler' | 'analytics';
  /** Heading of the operation in the API description. */
  readonly tag: string;
  readonly summary: string;
  readonly description: string;
  /** Scope that the caller needs. */
  readonly scope: Scope;
  /**
   * The queues that an input concerns: a caller who is limited to some queues must be allowed all of them, and at least one must be
   * named. Default: see {@link queuesOfInput}.
   */
  readonly queuesOf?: (input: z.output<I>) => readonly string[];
  /** The part of an answer that a caller may see who is limited to some queues; with it no queue need be named. */
  readonly visible?: (output: z.output<O>, allows: (queue: string) => boolean) => z.output<O>;
  readonly input: I;
  readonly output: O;
  /** Codes that it may answer beside `invalid-argument`, `unauthorized`, `forbidden`, `service-unavailable` and `internal`. */
  readonly problems: readonly ErrorCode[];
  /** Longest time that it may take, ms. Default 5,000. */
  readonly timeoutMs?: number;
  readonly http: CommandRoute;
}

/** What a command takes, as the service sees it: defaults filled in. */
export type CommandInput<C extends Command> = z.output<C['input']>;
/** What a command takes, as a caller writes it: defaults may be left out. */
export type CommandRequest<C extends Command> = z.input<C['input']>;
/** What a command answers. */
export type CommandOutput<C extends Command> = z.output<C['output']>;

/** Keeps the types of a command's schemas. */
export function defineCommand<I extends z.ZodObject, O extends z.ZodType>(command: Command<I, O>): Command<I, O> {
  return command;
}

/** Fields that hold the name of a queue: `queue`, `queue_name`, `toQueue`, `to_queue`. */
const QUEUE_FIELD = /^queue(_name)?$|_queue$|Queue$/;
/** Fields that the caller fills as it likes: what they hold is nobody's queue. */
const PAYLOAD_FIELDS: ReadonlySet<string> = new Set(['data', 'task_data']);

/**
 * The queues that an input of a command concerns; empty when it names none. Unless the command says otherwise: the fields `queue`,
 * `queue_name`, `…Queue` and `…_queue` at any depth but in a payload, and the queues of `task_id`.
 */
export function queuesOfInput(command: Pick<Command, 'queuesOf'>, input: Readonly<Record<string, unknown>>): readonly string[] {
  return command.queuesOf ? command.queuesOf(input) : queuesNamed(input);
}

function queuesNamed(input: object): string[] {
  return Object.entries(input).flatMap(([field, value]: [string, unknown]) => {
    if (PAYLOAD_FIELDS.has(field)) return [];
    if (typeof value === 'object' && value !== null) return queuesNamed(value);
    if (typeof value !== 'string') return [];
    if (field === 'task_id') return [value.slice(0, Math.max(0, value.indexOf('.')))];
    return QUEUE_FIELD.test(field) ? [value] : [];
  });
}

/** Header that names the caller of a command, for the audit: a key's name, a token's subject, a host. */
export const COMMAND_CALLER_HEADER = 'Command-Caller';
