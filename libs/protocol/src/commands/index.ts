import type { Command } from './command.js';
import { QUEUE_COMMANDS } from './queues.js';
import { SEARCH_COMMANDS } from './search.js';
import { WORKER_COMMANDS } from './workers.js';

/** The registry: all commands of the platform. */
export const COMMANDS: readonly Command[] = [
  ...Object.values(QUEUE_COMMANDS),
  ...Object.values(WORKER_COMMANDS),
  ...Object.values(SEARCH_COMMANDS),
];
