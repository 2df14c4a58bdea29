import { readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';

/** Settings of the queue manager from the environment. @throws JetlaneError `invalid-configuration` */
export const queueManagerConfig = (): ServiceConfig => readServiceConfig('queue-manager', 3001, 'QUEUE_MANAGER_PORT');
