import type { Cell } from '../cell.js';
import { handlerCrashes, handlerHangs, handlerPoison, handlerThrows } from './handlers.js';
import { linkCut, linkHalfOpen } from './links.js';
import { clockOff, inbox } from './others.js';
import { advisoriesMissed, resiliencyKilled } from './resiliency.js';
import { consumerDeleted, leaderLost, queueFull, serverKilled } from './server.js';
import { handlerBlocks, longRuns, workerKilled, workerStopped } from './workers.js';

/** In the order of the table. */
export const CELLS: readonly Cell[] = [
  workerKilled,
  workerStopped,
  longRuns,
  serverKilled,
  leaderLost,
  consumerDeleted,
  linkCut,
  linkHalfOpen,
  queueFull,
  handlerThrows,
  handlerHangs,
  handlerBlocks,
  handlerCrashes,
  handlerPoison,
  clockOff,
  advisoriesMissed,
  resiliencyKilled,
  inbox,
];
