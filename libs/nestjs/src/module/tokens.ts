import { Inject } from '@nestjs/common';

/** Name of the connection that is meant when none is named. */
export const DEFAULT_CONNECTION = 'default';

/** NestJS names a token that nobody provides: so each says what is missing. */
const named = (call: string, name: string): string => (name === DEFAULT_CONNECTION ? `${call}()` : `${call}({ name: "${name}" })`);

/** Token of a connection's {@link Jetlane}. */
export const getJetlaneToken = (connection: string = DEFAULT_CONNECTION): string => named('JetlaneModule.forRoot', connection);

/** Token of the options of a connection. */
export const getOptionsToken = (connection: string = DEFAULT_CONNECTION): string => `options of ${getJetlaneToken(connection)}`;

/** Token of a connection's {@link TaskWorkers}. */
export const getWorkersToken = (connection: string = DEFAULT_CONNECTION): string => `workers of ${getJetlaneToken(connection)}`;

/** Token of a registered {@link Queue}. */
export const getQueueToken = (queue: string, connection: string = DEFAULT_CONNECTION): string =>
  `JetlaneModule.registerQueue({ name: "${queue}"${connection === DEFAULT_CONNECTION ? '' : `, connection: "${connection}"`} })`;

/** Injects a registered queue: `@InjectQueue('email') private readonly email: Queue`. */
export const InjectQueue = (queue: string, connection?: string): ParameterDecorator & PropertyDecorator =>
  Inject(getQueueToken(queue, connection));

/** Injects a named connection's {@link Jetlane}; the default one is injected by its class. */
export const InjectJetlane = (connection?: string): ParameterDecorator & PropertyDecorator => Inject(getJetlaneToken(connection));

/** Injects the workers of a named connection; those of the default one are injected by their class, {@link TaskWorkers}. */
export const InjectWorkers = (connection?: string): ParameterDecorator & PropertyDecorator => Inject(getWorkersToken(connection));
