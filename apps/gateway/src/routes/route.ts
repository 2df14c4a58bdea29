import type { TaskClient } from '@jetlane/client';
import type { Connection } from '@jetlane/jetstream';
import { type ErrorCode, JetlaneError, type Scope } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { EnqueueCounter } from '../enqueue-counter.js';
import type { BrokerWatch } from '../overload/broker-watch.js';
import type { StatsSource } from '../stats/source.js';

/** What routes work with. */
export interface Gateway {
  readonly client: TaskClient;
  readonly connection: Connection;
  readonly broker: BrokerWatch;
  readonly stats: StatsSource;
  readonly counter: EnqueueCounter;
  readonly logger: Logger;
  /** Aborted when the gateway stops: streams that would not end by themselves do then. */
  readonly closing: AbortSignal;
}

/** One answer of a route, for the API description. */
export interface RouteAnswer {
  readonly description: string;
  readonly schema: z.ZodType;
  /** Default `application/json`. */
  readonly contentType?: string;
}

/** A route with all that the API description tells of it: one table feeds the router and the document. */
export interface ApiRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As OpenAPI writes it: `/api/queue/status/{task_id}`. */
  readonly path: string;
  /** As the router takes it, where it differs from `path`. */
  readonly url?: string;
  readonly operationId: string;
  readonly tag: string;
  /** Scope that the caller needs. */
  readonly scope: Scope;
  readonly summary: string;
  readonly description: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  /** Headers that it reads, by their names. */
  readonly headers?: z.ZodObject;
  /** Bodies by content type. */
  readonly body?: Readonly<Record<string, { readonly schema: z.ZodType; readonly example?: unknown }>>;
  /** It may be left out. */
  readonly bodyOptional?: true;
  readonly answers: Readonly<Record<number, readonly RouteAnswer[]>>;
  /** Codes of the problems that this route may answer, beside those of every route. */
  readonly problems: readonly ErrorCode[];
  /** The handler reads the body itself, as a stream. */
  readonly streams?: true;
  readonly handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;
}

/**
 * Refuses at once what would wait for a broker that is away or stands still: callers hold a connection open meanwhile.
 * @throws JetlaneError `not-connected`, `request-timeout`
 */
export function assertConnected({ connection, broker }: Pick<Gateway, 'connection' | 'broker'>): void {
  if (connection.state === 'connected') return broker.assertAnswering();
  throw new JetlaneError(
    'not-connected',
    'the gateway has no connection to NATS at this moment and is rebuilding it; nothing was stored, try again',
  );
}
