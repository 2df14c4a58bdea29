import { readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';

/** Settings of the scheduler from the environment. @throws JetlaneError `invalid-configuration` */
export const schedulerConfig = (): ServiceConfig => readServiceConfig('scheduler', 3002, 'SCHEDULER_PORT');
