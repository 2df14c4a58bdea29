import type { Delivery } from '@jetlane/jetstream';
import { decodeHeaders, HEADER, type HeaderPair, headerValue, isLane, isQueueName, type Lane, type Names } from '@jetlane/protocol';

/** A task whose time has come. */
export interface DueTask {
  readonly queue: string;
  readonly lane: Lane;
  readonly key: string;
  /** The hop that the timer was set for. Timer, due message and lane message are one publication, so it stays. */
  readonly hop: number;
  readonly attempt: number;
  readonly headers: readonly HeaderPair[];
  readonly data: Uint8Array;
}

/**
 * Reads a message under `due.>`; undefined when its subject leads to no lane (a stranger wrote it). The key may be any token:
 * workers run what strangers publish under keys that our own producers refuse, and its retries come by here.
 */
export function readDueTask(names: Names, delivery: Delivery): DueTask | undefined {
  const tokens = names.tokens(delivery.subject);
  const [queue = '', lane = '', key = ''] = tokens;
  if (tokens.length !== 3 || !isQueueName(queue) || !isLane(lane) || key === '') return undefined;
  const headers = decodeHeaders(delivery.headers);
  return { queue, lane, key, hop: count(headers, HEADER.hop), attempt: count(headers, HEADER.attempt), headers, data: delivery.data };
}

/** Unreadable counts are 1 here: the worker that gets the task reports bad headers. */
function count(headers: readonly HeaderPair[], name: string): number {
  const value = Number(headerValue(headers, name));
  return Number.isSafeInteger(value) && value > 0 ? value : 1;
}
