import { Inject } from '@nestjs/common';

/** Name of the connection that is meant when none is named. */
export const DEFAULT_CONNECTION = 'default';

/** Token of a connection's {@link Jetlane}. */
export const getJetlaneToken = (connection: string = DEFAULT_CONNECTION): string => `jetlane:connection:${connection}`;

/** Token of the options of a connection. */
export const getOptionsToken = (connection: string = DEFAULT_CONNECTION): string => `jetlane:options:${connection}`;

/** Token of a connection's {@link TaskWorkers}. */
export const getWorkersToken = (connection: string = DEFAULT_CONNECTION): string => `jetlane:workers:${connection}`;

/** Token of a registered {@link Queue}. */
export const getQueueToken = (queue: string, connection: string = DEFAULT_CONNECTION): string =>
  connection === DEFAULT_CONNECTION ? `jetlane:queue:${queue}` : `jetlane:queue:${connection}:${queue}`;

/** Injects a registered queue: `@InjectQueue('email') private readonly email: Queue`. */
export const InjectQueue = (queue: string, connection?: string): ParameterDecorator & PropertyDecorator =>
  Inject(getQueueToken(queue, connection));

/** Injects a named connection's {@link Jetlane}; the default one is injected by its class. */
export const InjectJetlane = (connection?: string): ParameterDecorator & PropertyDecorator => Inject(getJetlaneToken(connection));

/** Injects the workers of a named connection; those of the default one are injected by their class, {@link TaskWorkers}. */
export const InjectWorkers = (connection?: string): ParameterDecorator & PropertyDecorator => Inject(getWorkersToken(connection));
