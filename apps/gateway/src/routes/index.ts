import { batchRoute } from './batch.js';
import { commandRoutes } from './commands.js';
import { deadLetterJobRoutes } from './dead-letter-jobs.js';
import { deadLetterMoveRoutes } from './dead-letter-moves.js';
import { deadLetterRoutes } from './dead-letters.js';
import { enqueueRoute } from './enqueue.js';
import { eventsRoute } from './events.js';
import { exampleRoutes } from './examples.js';
import type { ApiRoute, Gateway } from './route.js';
import { statsRoutes } from './stats.js';
import { statusRoute } from './status.js';

/** All routes of the API. */
export function apiRoutes(gateway: Gateway): ApiRoute[] {
  return [
    enqueueRoute(gateway),
    batchRoute(gateway),
    statusRoute(gateway),
    ...statsRoutes(gateway),
    ...deadLetterRoutes(gateway),
    ...deadLetterMoveRoutes(gateway),
    ...deadLetterJobRoutes(gateway),
    ...commandRoutes(gateway),
    eventsRoute(gateway),
    ...exampleRoutes(gateway),
  ];
}
