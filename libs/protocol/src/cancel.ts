import type { Lane } from './lanes.js';

/** One task that is no longer wanted, up to a hop: a redrive later is another hop. */
export interface TaskCancelNotice {
  readonly reason: string;
  readonly key: string;
  readonly hop: number;
}

/** A group whose tasks are no longer wanted, as far as they were in a lane when it was cancelled. */
export interface GroupCancelNotice {
  readonly reason: string;
  readonly group: string;
  /** Last stream sequence of each lane at that moment: no clock has to be compared. */
  readonly upTo: Readonly<Partial<Record<Lane, number>>>;
}

/** What workers of a queue are told on core NATS. */
export type CancelNotice = TaskCancelNotice | GroupCancelNotice;

/** What a worker answers that holds tasks of a notice; one that holds none is silent. */
export interface CancelReply {
  readonly worker: string;
  /** Their handlers were told, or their outcome is being written. */
  readonly running: number;
  /** Of these, how many had ended: their outcome is being written, and the notice came too late for them. Missing means 0. */
  readonly ended?: number;
  /** They waited for a slot and will not run. */
  readonly dropped: number;
  /** Of a group: the keys of all of them. */
  readonly keys?: readonly string[];
}

/** Longest reason of a cancellation, in characters; the rest is cut off. */
export const REASON_LIMIT = 500;

/** Reads a notice; `undefined` when it is none (a stranger wrote to the subject). */
export function decodeCancelNotice(text: string): CancelNotice | undefined {
  try {
    const { reason, key, hop, group, upTo } = JSON.parse(text) as Record<string, unknown>;
    if (typeof reason !== 'string') return undefined;
    if (typeof key === 'string' && typeof hop === 'number') return { reason, key, hop };
    if (typeof group !== 'string' || typeof upTo !== 'object' || upTo === null) return undefined;
    return Object.values(upTo).every((sequence) => typeof sequence === 'number') ? { reason, group, upTo } : undefined;
  } catch {
    return undefined;
  }
}
