import type { WorkerLog } from '@jetlane/worker';
import { Logger } from '@nestjs/common';

const logger = new Logger('Jetlane');

const line = (event: string, fields: object): string =>
  Object.entries(fields).reduce(
    (text, [name, value]) => `${text} ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    event,
  );

/** Jetlane's events in the application's own log. */
export const nestLog: WorkerLog = {
  info: (fields, event) => logger.log(line(event, fields)),
  warn: (fields, event) => logger.warn(line(event, fields)),
  error: (fields, event) => logger.error(line(event, fields)),
};
