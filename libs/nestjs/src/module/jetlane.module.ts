import { JetlaneError, type QueueDefinition } from '@jetlane/protocol';
import { type DynamicModule, type FactoryProvider, Module, type Provider } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { workersModule } from '../handlers/workers.module.js';
import { schedulerModule } from '../scheduler/scheduler.module.js';
import { checkJetlaneOptions } from './check-jetlane-options.js';
import { holdersOf, placeHooks } from './hook-order.js';
import { Jetlane } from './jetlane.js';
import type {
  JetlaneModuleAsyncOptions,
  JetlaneModuleOptions,
  JetlaneModuleSettings,
  JetlaneOptions,
  JetlaneOptionsFactory,
  RegisterQueueAsyncOptions,
  RegisterQueueOptions,
} from './options.js';
import { DEFAULT_CONNECTION, getJetlaneToken, getOptionsToken, getQueueToken } from './tokens.js';

/** Holds one connection. */
@Module({})
class JetlaneConnectionModule {}

/** Task queues in a NestJS application: a connection, queues to inject, and the workers of the decorated handlers. */
@Module({})
// biome-ignore lint/complexity/noStaticOnlyClass: a dynamic module of NestJS is one
export class JetlaneModule {
  /** Connects, and runs the handlers that the application declares. Once per connection, in the root module. */
  static forRoot(options: JetlaneModuleOptions = {}): DynamicModule {
    const { name, global, ...rest } = options;
    const given: JetlaneOptions = name === undefined ? rest : { name, ...rest };
    return root({ ...settingsOf(name, global), useFactory: () => given });
  }

  /** Likewise, with options from other providers such as a ConfigService. */
  static forRootAsync(options: JetlaneModuleAsyncOptions): DynamicModule {
    return root(options);
  }

  /** Queues that can be injected by `@InjectQueue(name)` where this is imported. They are defined and provisioned if nobody did. */
  static registerQueue(...queues: RegisterQueueOptions[]): DynamicModule {
    return JetlaneModule.registerQueueAsync(
      ...queues.map(({ connection, imports, ...definition }) => ({
        name: definition.name,
        ...(connection === undefined ? {} : { connection }),
        ...(imports === undefined ? {} : { imports }),
        useFactory: () => definition,
      })),
    );
  }

  /** Likewise, with definitions made from other providers. */
  static registerQueueAsync(...queues: RegisterQueueAsyncOptions[]): DynamicModule {
    const providers = queues.flatMap(queueProviders);
    const exports = queues.map(({ name, connection }) => getQueueToken(name, connection));
    return { module: JetlaneModule, imports: queues.flatMap(({ imports = [] }) => imports), providers, exports };
  }
}

const settingsOf = (name?: string, global?: boolean): JetlaneModuleSettings => ({
  ...(name === undefined ? {} : { name }),
  ...(global === undefined ? {} : { global }),
});

function root(options: JetlaneModuleAsyncOptions): DynamicModule {
  const name = options.name ?? DEFAULT_CONNECTION;
  const connection = connectionModule(name, options);
  const workers = workersModule(name, connection);
  const scheduler = schedulerModule(name, connection, workers);
  return { module: JetlaneModule, imports: [connection, workers, scheduler], exports: [connection, workers] };
}

function connectionModule(name: string, options: JetlaneModuleAsyncOptions): DynamicModule {
  const token = getJetlaneToken(name);
  const open: FactoryProvider<Jetlane> = {
    provide: token,
    inject: [getOptionsToken(name), ModulesContainer],
    useFactory: (given: JetlaneOptions, modules: ModulesContainer) => {
      checkJetlaneOptions(given);
      if (holdersOf(modules, token).length > 1) throw twoRoots(name);
      // The link must outlive whatever the application does at its end.
      placeHooks(modules, token, 'outermost');
      return Jetlane.open(given);
    },
  };
  const alias: Provider[] = name === DEFAULT_CONNECTION ? [{ provide: Jetlane, useExisting: token }] : [];
  return {
    module: JetlaneConnectionModule,
    global: options.global ?? true,
    imports: options.imports ?? [],
    providers: [...(options.extraProviders ?? []), ...optionsProviders(getOptionsToken(name), options), open, ...alias],
    exports: [getOptionsToken(name), token, ...alias.map(() => Jetlane)],
  };
}

function optionsProviders(token: string, options: JetlaneModuleAsyncOptions): Provider[] {
  const { useFactory, inject = [], useClass, useExisting } = options;
  if (useFactory) return [{ provide: token, inject, useFactory }];
  const factory = useExisting ?? useClass;
  if (!factory) throw new TypeError('JetlaneModule.forRootAsync needs useFactory, useClass or useExisting');
  const made: Provider = { provide: token, inject: [factory], useFactory: optionsOf };
  return useClass && !useExisting ? [useClass, made] : [made];
}

function optionsOf(maker: Partial<JetlaneOptionsFactory> & object): JetlaneOptions | Promise<JetlaneOptions> {
  if (maker.createJetlaneOptions) return maker.createJetlaneOptions();
  throw new JetlaneError(
    'invalid-configuration',
    `${maker.constructor.name} cannot make the options of JetlaneModule.forRootAsync: it has no method createJetlaneOptions()`,
  );
}

function queueProviders({ name, connection, inject = [], useFactory }: RegisterQueueAsyncOptions): Provider[] {
  const definition = `definition of ${getQueueToken(name, connection)}`;
  const open = (jetlane: Jetlane, given: Omit<QueueDefinition, 'name'>) => jetlane.queue({ ...given, name });
  return [
    { provide: definition, inject, useFactory },
    { provide: getQueueToken(name, connection), inject: [getJetlaneToken(connection), definition], useFactory: open },
  ];
}

/** Each would open a connection and run all handlers once more. */
function twoRoots(name: string): JetlaneError {
  return new JetlaneError(
    'invalid-configuration',
    `JetlaneModule.forRoot is imported twice for connection "${name}"; keep the one in the root module, or give the other one a name`,
    { details: { connection: name } },
  );
}
