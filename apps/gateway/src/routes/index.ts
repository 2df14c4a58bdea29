import { COMMANDS } from '@jetlane/protocol';
import { batchRoute } from './batch.js';
import { commandRoutes } from './commands.js';
import { deadLetterExportRoute } from './dead-letter-export.js';
import { DEAD_LETTER_RUNS } from './dead-letters.js';
import { enqueueRoute } from './enqueue.js';
import { eventsRoute } from './events.js';
import { exampleRoutes } from './examples.js';
import type { ApiRoute, Gateway } from './route.js';
import { statsRoutes } from './stats.js';
import { statusRoute } from './status.js';

/**
 * All routes of the API. Those that are no commands of the registry: enqueue, batch and examples, which the gateway does itself with the same
 * schema as every producer (a hop to a service would double their time); status and figures, which it reads from the streams, so that they are
 * there when a service is not; and what streams.
 */
export function apiRoutes(gateway: Gateway): ApiRoute[] {
  return [
    enqueueRoute(gateway),
    batchRoute(gateway),
    statusRoute(gateway),
    ...statsRoutes(gateway),
    deadLetterExportRoute(gateway),
    ...commandRoutes(gateway, COMMANDS, DEAD_LETTER_RUNS),
    eventsRoute(gateway),
    ...exampleRoutes(gateway),
  ];
}
