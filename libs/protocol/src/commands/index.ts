import { AUDIT_COMMANDS } from './audit.js';
import type { Command } from './command.js';
import { DEAD_LETTER_COMMANDS } from './dead-letters.js';
import { QUEUE_COMMANDS } from './queues.js';
import { SEARCH_COMMANDS } from './search.js';
import { JOB_COMMANDS, STEERING_COMMANDS } from './steering.js';
import { TASK_COMMANDS } from './tasks.js';
import { WORKER_COMMANDS } from './workers.js';

/** The registry: all commands of the platform. */
export const COMMANDS: readonly Command[] = [
  ...Object.values(QUEUE_COMMANDS),
  ...Object.values(WORKER_COMMANDS),
  ...Object.values(SEARCH_COMMANDS),
  ...Object.values(STEERING_COMMANDS),
  ...Object.values(JOB_COMMANDS),
  ...Object.values(TASK_COMMANDS),
  ...Object.values(AUDIT_COMMANDS),
  ...Object.values(DEAD_LETTER_COMMANDS),
];
