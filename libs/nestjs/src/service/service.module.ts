import { type DynamicModule, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { ComponentRunner } from './component-runner.js';
import { type Component, SERVICE_CONTEXT, type ServiceContext } from './context.js';
import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';

/** What all services have: probes, metrics, components. */
@Module({})
export class ServiceModule {}

/** The module of one service, around its own one. */
export function serviceModule(context: ServiceContext, components: readonly Component[], own: DynamicModule | undefined): DynamicModule {
  return {
    module: ServiceModule,
    global: true,
    imports: [TerminusModule.forRoot({ logger: false, errorLogStyle: 'json' }), ...(own ? [own] : [])],
    controllers: [HealthController, MetricsController],
    providers: [
      { provide: SERVICE_CONTEXT, useValue: context },
      { provide: ComponentRunner, useFactory: () => new ComponentRunner(context, components) },
    ],
    exports: [SERVICE_CONTEXT],
  };
}
