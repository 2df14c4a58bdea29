import { readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';

/** Settings of the resiliency service from the environment. @throws JetlaneError `invalid-configuration` */
export const resiliencyConfig = (): ServiceConfig => readServiceConfig('resiliency', 3003, 'RESILIENCY_PORT');
