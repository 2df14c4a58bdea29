import { type DynamicModule, Inject, Module, type ModuleMetadata, type Provider } from '@nestjs/common';
import { HealthIndicatorService, TerminusModule } from '@nestjs/terminus';
import type { TaskWorkers } from '../handlers/workers.js';
import type { Jetlane } from '../module/jetlane.js';
import { DEFAULT_CONNECTION, getJetlaneToken, getWorkersToken } from '../module/tokens.js';
import { JetlaneHealthIndicator } from './indicator.js';

/** Token of a connection's {@link JetlaneHealthIndicator}. */
export const getHealthToken = (connection: string = DEFAULT_CONNECTION): string =>
  `JetlaneHealthModule.forConnection({ connection: "${connection}" })`;

/** Injects the indicator of a named connection; the default one is injected by its class. */
export const InjectJetlaneHealth = (connection?: string): ParameterDecorator & PropertyDecorator => Inject(getHealthToken(connection));

/** Which connection {@link JetlaneHealthModule} looks at. */
export interface HealthModuleOptions {
  /** Default: `default`. */
  readonly connection?: string;
  /** Needed only where `forRoot` was called with `global: false`: the module that it returned. */
  readonly imports?: ModuleMetadata['imports'];
}

/** Gives {@link JetlaneHealthIndicator} to health controllers. */
@Module({})
// biome-ignore lint/complexity/noStaticOnlyClass: a dynamic module of NestJS is one
export class JetlaneHealthModule {
  /** The indicators of one connection, to be injected as {@link JetlaneHealthIndicator}; those of a named one by `@InjectJetlaneHealth(name)`. */
  static forConnection({ connection = DEFAULT_CONNECTION, imports = [] }: HealthModuleOptions = {}): DynamicModule {
    const token = getHealthToken(connection);
    const make = (indicators: HealthIndicatorService, jetlane: Jetlane, workers: TaskWorkers) =>
      new JetlaneHealthIndicator(indicators, jetlane, workers);
    const alias: Provider[] = connection === DEFAULT_CONNECTION ? [{ provide: JetlaneHealthIndicator, useExisting: token }] : [];
    return {
      module: JetlaneHealthModule,
      imports: [TerminusModule, ...imports],
      providers: [
        { provide: token, inject: [HealthIndicatorService, getJetlaneToken(connection), getWorkersToken(connection)], useFactory: make },
        ...alias,
      ],
      exports: [token, ...alias.map(() => JetlaneHealthIndicator), TerminusModule],
    };
  }
}
