import type { Connection, ConnectOptions } from '@jetlane/jetstream';
import type { Duration, QueueDefinition } from '@jetlane/protocol';
import type { FactoryProvider, InjectionToken, ModuleMetadata, Provider, Type } from '@nestjs/common';
import type { JetlaneRole } from './config.js';

/** How this application is linked to NATS, and what it does there. Every field has a default. */
export interface JetlaneOptions extends ConnectOptions {
  /** A connection that somebody else opened and will close; the fields of {@link ConnectOptions} then do nothing. */
  readonly connection?: Connection;
  /** Default: the variable `JETLANE_ROLE`, else `all`. */
  readonly role?: JetlaneRole;
  /** How long running handlers may take when the application shuts down; then their signals fire. Default 10s. */
  readonly shutdownTimeout?: Duration;
  /** Whether `currentTask()` works in handlers and all they call. Costs an AsyncLocalStorage run per task. Default true. */
  readonly asyncContext?: boolean;
  /**
   * Whether this process also moves due tasks (delays, retries) into their lanes while it has workers. Any number of processes may;
   * switch it off where a scheduler service runs and handlers keep the CPU busy. Default true.
   */
  readonly scheduler?: boolean;
}

/** What must be known before the container exists. */
export interface JetlaneModuleSettings {
  /** Name of the connection, where an application has several. Default `default`. */
  readonly name?: string;
  /** Whether queues may be registered, and the connection injected, without importing this module again. Default true. */
  readonly global?: boolean;
}

/** Options of `JetlaneModule.forRoot`; `name` names the connection, here and in NATS. */
export interface JetlaneModuleOptions extends JetlaneOptions, JetlaneModuleSettings {}

/** A provider that makes the options. */
export interface JetlaneOptionsFactory {
  /** Called once, when the application starts. */
  createJetlaneOptions(): JetlaneOptions | Promise<JetlaneOptions>;
}

/** Options made from what the container has: give one of `useFactory`, `useClass`, `useExisting`. */
export interface JetlaneModuleAsyncOptions extends JetlaneModuleSettings {
  /** Modules that export what is injected. Default: none. */
  readonly imports?: ModuleMetadata['imports'];
  /** Tokens whose providers `useFactory` gets, in this order. Default: none. */
  readonly inject?: FactoryProvider['inject'];
  /** Makes the options, at once or as a promise. */
  readonly useFactory?: FactoryProvider<JetlaneOptions>['useFactory'];
  /** A class that makes them; it becomes a provider of its own. */
  readonly useClass?: Type<JetlaneOptionsFactory>;
  /** A provider that is there already and makes them. */
  readonly useExisting?: InjectionToken<JetlaneOptionsFactory>;
  /** Providers that the factory needs and no module exports. Default: none. */
  readonly extraProviders?: Provider[];
}

/** A queue to register: its definition, used when the queue is not defined yet. */
export interface RegisterQueueOptions extends QueueDefinition {
  /** Name of the connection. Default `default`. */
  readonly connection?: string;
  /** Needed only where `forRoot` was called with `global: false`: the module that it returned. */
  readonly imports?: ModuleMetadata['imports'];
}

/** A queue whose definition is made from what the container has. */
export interface RegisterQueueAsyncOptions {
  readonly name: string;
  /** Name of the connection. Default `default`. */
  readonly connection?: string;
  /** Modules that export what is injected, and the root where it is not global. Default: none. */
  readonly imports?: ModuleMetadata['imports'];
  /** Tokens whose providers `useFactory` gets, in this order. Default: none. */
  readonly inject?: FactoryProvider['inject'];
  readonly useFactory: FactoryProvider<Omit<QueueDefinition, 'name'>>['useFactory'];
}
