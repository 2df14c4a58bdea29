import type { QueueDefinition } from '@jetlane/protocol';

/** What a handler does instead of its work, and when. */
export type Misdeed =
  /** Throws in its first attempt. */
  | 'throw'
  /** Never ends in its first attempt. */
  | 'hang'
  /** Blocks the event loop at its first delivery. */
  | 'block'
  /** Ends the process at its first delivery. */
  | 'crash'
  /** Ends the process whenever it runs. */
  | 'poison';

/** Payload of every task here. */
export interface TaskData {
  readonly n: number;
  /** Length of the run, in ms. */
  readonly ms?: number;
  readonly does?: Misdeed;
  /** How long the event loop is blocked, in ms. */
  readonly blockMs?: number;
}

/** Every `every`-th task, counted from `at`, is another one than the rest. The first that fits counts. */
export interface Mix {
  readonly every: number;
  readonly at: number;
  /** Only one of them: the first. */
  readonly once?: boolean;
  readonly data?: Partial<TaskData>;
  readonly delayMs?: number;
  /** Goes to the queue that nobody works for as one should; its end is a dead letter. */
  readonly doomed?: boolean;
  /** Must end as a dead letter. */
  readonly dead?: boolean;
}

interface Input {
  readonly url: string;
  readonly namespace: string;
  readonly replicas: number;
  /** Unix socket of the audit. */
  readonly audit: string;
  /** Protections that are switched off in this process. */
  readonly off: readonly string[];
}

export interface ProducerInput extends Input {
  readonly queue: string;
  readonly doomedQueue: string;
  /** Tasks a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly workMs: number;
  readonly mix: readonly Mix[];
  /** Tries again when the queue is full. */
  readonly insist: boolean;
  /** URLs of the gateways, which some of the tasks go through. */
  readonly gateways: readonly string[];
}

export interface WorkerInput extends Input {
  readonly name: string;
  readonly definition: QueueDefinition;
  readonly concurrency: number;
  /** Longest run, in ms. */
  readonly timeoutMs?: number;
  /** Effects go into this database, through the inbox. */
  readonly database?: string;
}

export interface ResiliencyInput {
  readonly url: string;
  readonly namespace: string;
  readonly replicas: number;
  readonly off: readonly string[];
}

/** What the audit knows so far. */
export interface AuditState {
  readonly confirmed: number;
  readonly refused: number;
  /** Confirmed tasks without an effect, those that must end as dead letters left out. */
  readonly outstanding: number;
  /** Confirmed tasks that must end as dead letters. */
  readonly doomed: number;
  readonly effects: number;
  /** Time of the last effect by worker, ms since 1970. */
  readonly workers: Readonly<Record<string, number>>;
}
