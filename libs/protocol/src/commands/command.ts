import type { z } from 'zod';
import type { ErrorCode } from '../errors.js';

/** What a caller must be allowed to do, from least to most; each holds the ones before it but `produce`, which stands alone. */
export const SCOPES = ['produce', 'read', 'operate', 'admin'] as const;
/** One of {@link SCOPES}. */
export type Scope = (typeof SCOPES)[number];

/** Where a command is found over HTTP. */
export interface CommandRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As OpenAPI writes it, under `/api/v1`: `/queues/{queue}/pause`. Fields of the input that it names come from the path, the others from the query (GET, DELETE) or the body. */
  readonly path: string;
  /** Default 200. */
  readonly status?: 200 | 201 | 202;
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
  /** Scope that the caller needs. An input with a field `queue` concerns that queue only. */
  readonly scope: Scope;
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

/** Header that names the caller of a command, for the audit: a key's name, a token's subject, a host. */
export const COMMAND_CALLER_HEADER = 'Command-Caller';
