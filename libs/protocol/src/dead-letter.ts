import type { Lane } from './lanes.js';
import type { AttemptError, ErrorRecord } from './record.js';

/** A dead letter as people see it: everything but its payload. */
export interface DeadLetter {
  /** `<queue>.<key>` */
  readonly id: string;
  /** Its place in the stream of dead letters: a cursor for lists. */
  readonly sequence: number;
  readonly queue: string;
  /** The lane it came from, and goes back to unless another one is asked for. */
  readonly lane: Lane;
  readonly type?: string;
  readonly group?: string;
  readonly hop: number;
  readonly attempt: number;
  /** Why it was given up, as in `attempts-exhausted`. */
  readonly reason: string;
  readonly error?: ErrorRecord;
  /** Attempts that failed, oldest first. */
  readonly history: readonly AttemptError[];
  /** The same for failures of the same kind. */
  readonly fingerprint?: string;
  /** When it was given up, ms since 1970, by the clock of whoever gave it up. */
  readonly deadAt: number;
  /** When it was stored, ms since 1970, by the server's clock: what filters of time go by. */
  readonly storedAt: number;
  /** Stream and sequence of the message that it was made from. */
  readonly source?: string;
  readonly contentType: string;
  /** Size of the payload. */
  readonly bytes: number;
}

/** A dead letter with its payload: JSON as a value, anything else in base64. */
export type DeadLetterDetail = DeadLetter & ({ readonly data: unknown } | { readonly base64: string });

/** Which dead letters are meant; all conditions must hold, none means all. */
export interface DeadLetterFilter {
  readonly queue?: string | undefined;
  readonly type?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly reason?: string | undefined;
  /** Stored at this time or later, ms since 1970. */
  readonly from?: number | undefined;
  /** Stored before this time, ms since 1970. */
  readonly to?: number | undefined;
}

/** A number of dead letters. Not `exact`: at least so many, since not all were looked at. */
export interface Count {
  readonly count: number;
  readonly exact: boolean;
}

/** A page of a list, oldest first. */
export interface DeadLetterPage {
  readonly items: readonly DeadLetter[];
  /** Cursor of the next page; missing at the end. A page may be empty and still have a next one: what is read per page is bounded. */
  readonly next?: number;
  /** Dead letters that were looked at. */
  readonly scanned: number;
  /** How many there are: of the whole list when exact, else at least. */
  readonly total: Count;
}

/** What became of the redrive of one dead letter. */
export interface RedriveAnswer {
  readonly id: string;
  /** Hop under which the task lives again. */
  readonly hop: number;
  readonly lane: Lane;
  /** It had been sent back before: now only the dead letter was removed. */
  readonly duplicate: boolean;
  /** Nothing was done: this is what would be. */
  readonly dryRun?: true;
}

/** What a redrive or discard by filter would do. */
export interface DeadLetterPreview {
  readonly dryRun: true;
  readonly matched: Count;
  /** The first of them. `problem` is the code with which this one would fail. */
  readonly sample: readonly (DeadLetter & { readonly problem?: string })[];
  /** Cursor at which the look ended, when it did not reach the end. */
  readonly next?: number;
}

/** `running` → `completed` (all dealt with) | `stopped` (a full lane; go on from `cursor`) | `cancelled` | `failed`. */
export type DeadLetterJobState = 'running' | 'completed' | 'stopped' | 'cancelled' | 'failed';

/** A redrive or discard of many dead letters, as it goes. It covers what stood when it began, not what dies meanwhile. */
export interface DeadLetterJob {
  readonly id: string;
  readonly kind: 'redrive' | 'discard';
  readonly filter: DeadLetterFilter;
  /** Redrive: the lane for all of them; without it each goes back to its own. */
  readonly lane?: Lane;
  /** Most dead letters a second. */
  readonly rate: number;
  readonly state: DeadLetterJobState;
  /** Redriven or discarded. */
  readonly moved: number;
  /** Gone meanwhile, or sent back before: nothing was left to do but to remove the dead letter. */
  readonly skipped: number;
  /** Could not be moved; they stay. */
  readonly failed: number;
  readonly left: Count;
  /** Everything up to this sequence is dealt with: where a new job goes on. */
  readonly cursor: number;
  /** The last sequence that it covers. */
  readonly until: number;
  readonly startedAt: number;
  readonly updatedAt: number;
  /** Why it stopped or failed. */
  readonly error?: { readonly code: string; readonly message: string };
  /** The first failures. */
  readonly failures: readonly { readonly id: string; readonly code: string; readonly message: string }[];
  /** Who asked, as they said; `unknown` when they did not. */
  readonly by?: string;
}
