import { readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';

/** Settings of the analytics service. */
export const readConfig = (): ServiceConfig => readServiceConfig('analytics', 3004, 'ANALYTICS_PORT');
