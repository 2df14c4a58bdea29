import { asciiJson, type ErrorRecord, fingerprint, HEADER, isFinal, type Lane } from '@jetlane/protocol';
import type { TaskTraces } from './task-store.js';

/** Why, when and where a task was given up. */
export interface Death {
  /** A stable code, as in `deliveries-exhausted`. */
  readonly reason: string;
  readonly error: ErrorRecord;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Stream and sequence of the message that became the dead letter. */
  readonly source: { readonly stream: string; readonly sequence: number };
  /** The lane that it was in or on its way to; undefined for what named none. */
  readonly lane: Lane | undefined;
  readonly type: string | undefined;
}

/** Headers that make a task message a dead letter; see `TaskStore.publishDead`. The attempt history stays as it was. */
export function deathHeaders({ reason, error, at, source, lane, type }: Death): Record<string, string | number> {
  return {
    [HEADER.deadReason]: reason,
    [HEADER.deadError]: asciiJson(error),
    [HEADER.deadAt]: at,
    [HEADER.deadSource]: `${source.stream}:${source.sequence}`,
    ...(lane === undefined ? {} : { [HEADER.deadLane]: lane }),
    [HEADER.fingerprint]: fingerprint(type, error),
  };
}

/**
 * True when a hop is over: its record is final, or something of a higher hop was written, or its dead letter stands.
 * Whoever holds a message of this hop only has to remove it.
 */
export function isOver({ record, copies }: TaskTraces, hop: number): boolean {
  if (record && (record.hop > hop || (record.hop === hop && isFinal(record.state)))) return true;
  return copies.some((copy) => copy.hop > hop || (copy.place === 'dead' && copy.hop >= hop));
}
