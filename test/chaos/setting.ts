import type { QueueDefinition } from '@jetlane/protocol';
import type { Mix } from './programs/inputs.js';

/** How much work there is, and how long the product may take to get over a fault. */
export interface Load {
  /** Tasks a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly leaseMs: number;
  /** Nothing may be without progress for longer than this, beyond the lease. */
  readonly patienceMs: number;
}

/** What a run consists of. */
export interface Setting {
  /** How workers are connected: the first by a link that can be broken, or both by one that is listened to. Default: directly. */
  readonly link?: 'tcp' | 'frames';
  /** Handlers at a time per worker. Default: enough for one of the two to do all the work, 100 at least. */
  readonly concurrency?: (load: Load) => number;
  /** Length of an ordinary run, in ms. Default 0. */
  readonly workMs?: (load: Load) => number;
  /** Longest run, in ms. */
  readonly timeoutMs?: number;
  readonly definition?: (load: Load) => Partial<QueueDefinition>;
  readonly mix?: (load: Load) => readonly Mix[];
  /** The producer tries again when the queue is full. */
  readonly insist?: true;
  /** A worker that ends is started again. */
  readonly respawn?: true;
  /** Handlers write into a database, through the inbox. */
  readonly database?: true;
  /** Resiliency is down until the fault starts it. */
  readonly withoutResiliency?: true;
}

/** Names of protections that are switched off, by process; see programs/off.ts. */
export interface Off {
  readonly worker?: readonly string[];
  readonly producer?: readonly string[];
  /** Resiliency runs as two processes of the tests in place of the services. */
  readonly resiliency?: readonly string[];
}
