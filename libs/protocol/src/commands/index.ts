import type { Command } from './command.js';
import { QUEUE_COMMANDS } from './queues.js';

/** The registry: all commands of the platform. */
export const COMMANDS: readonly Command[] = [...Object.values(QUEUE_COMMANDS)];
