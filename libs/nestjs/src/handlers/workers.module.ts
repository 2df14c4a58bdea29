import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import {
  ApplicationConfig,
  DiscoveryModule,
  DiscoveryService,
  ExternalContextCreator,
  MetadataScanner,
  ModuleRef,
  ModulesContainer,
} from '@nestjs/core';
import { placeHooks } from '../module/hook-order.js';
import type { Jetlane } from '../module/jetlane.js';
import type { JetlaneOptions } from '../module/options.js';
import { DEFAULT_CONNECTION, getJetlaneToken, getOptionsToken, getWorkersToken } from '../module/tokens.js';
import { TaskExplorer } from './explorer.js';
import { Invoker } from './invoker.js';
import { TaskWorkers } from './workers.js';

/** Holds the workers of one connection. */
@Module({})
class JetlaneWorkersModule {}

/** The module that finds and runs the handlers of a connection. */
export function workersModule(name: string, connection: DynamicModule): DynamicModule {
  const token = getWorkersToken(name);
  const make = (jetlane: Jetlane, options: JetlaneOptions, modules: ModulesContainer, explorer: TaskExplorer, invoker: Invoker) => {
    // Tasks come when all else is ready, and stop before anything else does.
    placeHooks(modules, token, 'innermost');
    const { shutdownTimeout = '10s', asyncContext = true } = options;
    return new TaskWorkers(jetlane, { connection: name, shutdownTimeout, asyncContext }, explorer, invoker);
  };
  const alias: Provider[] = name === DEFAULT_CONNECTION ? [{ provide: TaskWorkers, useExisting: token }] : [];
  return {
    module: JetlaneWorkersModule,
    global: connection.global ?? false,
    imports: [connection, DiscoveryModule],
    providers: [
      { provide: TaskExplorer, inject: [DiscoveryService, MetadataScanner, ModuleRef], useFactory: makeExplorer },
      { provide: Invoker, inject: [ExternalContextCreator, ApplicationConfig, ModuleRef], useFactory: makeInvoker },
      { provide: token, inject: [getJetlaneToken(name), getOptionsToken(name), ModulesContainer, TaskExplorer, Invoker], useFactory: make },
      ...alias,
    ],
    exports: [token, ...alias.map(() => TaskWorkers)],
  };
}

const makeExplorer = (...parts: ConstructorParameters<typeof TaskExplorer>): TaskExplorer => new TaskExplorer(...parts);
const makeInvoker = (...parts: ConstructorParameters<typeof Invoker>): Invoker => new Invoker(...parts);
