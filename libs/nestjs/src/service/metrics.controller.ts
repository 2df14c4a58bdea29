import { Controller, Get, Header, Inject } from '@nestjs/common';
import { SERVICE_CONTEXT, type ServiceContext } from './context.js';

/** The page for Prometheus. */
@Controller('metrics')
export class MetricsController {
  constructor(@Inject(SERVICE_CONTEXT) private readonly context: ServiceContext) {}

  @Get()
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  read(): Promise<string> {
    return this.context.metrics.render();
  }
}
