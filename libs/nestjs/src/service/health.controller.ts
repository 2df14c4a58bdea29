import { Controller, Get, Inject, Res, ServiceUnavailableException } from '@nestjs/common';
import { HealthCheckService, type HealthIndicatorFunction, HealthIndicatorService } from '@nestjs/terminus';
import type { FastifyReply } from 'fastify';
import { SERVICE_CONTEXT, type ServiceContext } from './context.js';

/** Probes for orchestrators and people. */
@Controller('health')
export class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly service: HealthCheckService,
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(SERVICE_CONTEXT) private readonly context: ServiceContext,
  ) {}

  /** The process answers. Never depends on the broker: a restart would not mend it. */
  @Get('live')
  live(): Promise<unknown> {
    return this.service.check([]);
  }

  /** The service can do its work: 200, or 503 with what is down. */
  @Get('ready')
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    const { health } = this.context;
    try {
      return await this.service.check(
        health.names().map(
          (name): HealthIndicatorFunction =>
            () =>
              this.indicate(name),
        ),
      );
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      // Answered here, so that an application's own error format does not hide what is down.
      reply.status(503);
      return error.getResponse();
    }
  }

  private async indicate(name: string) {
    const { up, ...details } = await this.context.health.run(name);
    const indicator = this.indicators.check(name);
    return up ? indicator.up(details) : indicator.down(details);
  }
}
