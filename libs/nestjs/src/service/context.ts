import type { Connection } from '@jetlane/jetstream';
import type { DynamicModule } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Meter } from '@opentelemetry/api';
import type { FastifyServerOptions } from 'fastify';
import type { Logger } from 'pino';
import type { ServiceConfig } from './config.js';
import type { HealthRegistry } from './health-registry.js';
import type { ServiceMetrics } from './metrics.js';

/** Something of a service that runs between start and stop. `stop` is called once, also when `start` failed half-way. */
export interface Component {
  /** Called once, before HTTP requests are served; what it throws ends the process. */
  start(): Promise<void>;
  /** Ends what was started, within the service's shutdown timeout. */
  stop(): Promise<void>;
  /** A second signal came while it stops: cuts short what takes long. */
  abort?(): void;
}

/** What the parts of a service share. */
export interface ServiceContext<C extends ServiceConfig = ServiceConfig> {
  readonly config: C;
  readonly connection: Connection;
  readonly logger: Logger;
  readonly health: HealthRegistry;
  readonly meter: Meter;
  /** The page at `/metrics`, for what the meter cannot express. */
  readonly metrics: ServiceMetrics;
}

/** Options of the Fastify server that a service may set. */
export type FastifyOptions = Pick<
  FastifyServerOptions,
  'frameworkErrors' | 'requestTimeout' | 'keepAliveTimeout' | 'routerOptions' | 'trustProxy'
> & {
  /** Headers of a request must be complete within this time, ms. Default 30,000. */
  readonly headersTimeout?: number;
};

/** A service of the platform. */
export interface ServiceOptions<C extends ServiceConfig = ServiceConfig> {
  /** The settings, or what reads them: then wrong settings are told like any other error at the start. */
  readonly config: C | (() => C);
  /** Components in the order in which they start; they stop in the reverse order. */
  readonly components: (context: ServiceContext<C>) => Component[] | Promise<Component[]>;
  /** A Nest module with the service's own controllers. */
  readonly module?: (context: ServiceContext<C>) => DynamicModule;
  /**
   * The controllers of `module` have `@EventPattern`s: they read the events of other services, which this service's processes share.
   * Default false.
   */
  readonly readsEvents?: boolean;
  /**
   * Spans can be the active ones, for what runs inside a handler. A service that gives every span its parent needs none, and is spared what following
   * every promise costs. Default true.
   */
  readonly activeSpans?: boolean;
  /** Hooks, native routes, pipes and filters; called before the application is initialised. */
  readonly configureApp?: (app: NestFastifyApplication, context: ServiceContext<C>) => void | Promise<void>;
  /** How long a graceful stop may take, in ms. Default 25,000. */
  readonly shutdownTimeoutMs?: number;
  /** Longest request body in bytes. Default 1 MiB. */
  readonly bodyLimit?: number;
  /** Further options of the Fastify server, such as `frameworkErrors`; `requestTimeout: 0` lets bodies take any time. */
  readonly fastify?: FastifyOptions | ((config: C) => FastifyOptions);
  /** The service checks `Host` itself. Default false: on a loopback address only hosts that name this machine are served. */
  readonly guardsHost?: boolean;
}

/** Injection token of the {@link ServiceContext}. */
export const SERVICE_CONTEXT = Symbol('jetlane:service-context');
