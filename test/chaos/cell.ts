import type { Ledger } from './ledger.js';
import type { Scene } from './scene.js';
import type { Off, Setting } from './setting.js';

/** What can be wrong at the end of a run. */
export type ProblemKind =
  /** Confirmed, and nowhere: neither an effect nor a copy. */
  | 'lost'
  /** Confirmed, no effect, and a copy that nobody touches any more; or a copy that is left over; or one that was long passed over. */
  | 'stuck'
  /** More effects than the bound allows. */
  | 'duplicates'
  /** Given up though it was not to be. */
  | 'dead'
  /** The producer was told that a task is not stored. */
  | 'refused'
  /** A worker that lives and does nothing. */
  | 'zombies'
  /** A word about a task whose lease had run out. */
  | 'late'
  /** Run before its time. */
  | 'early'
  /** More than one dead letter of one task. */
  | 'letters'
  /** A service that is not ready at the end. */
  | 'unready'
  /** A service that ended though nobody killed it. */
  | 'died'
  /** The fault did not come about. */
  | 'fault'
  /** The run itself came to grief. */
  | 'broken';

export interface Problem {
  readonly kind: ProblemKind;
  readonly count: number;
  readonly text: string;
}

/** A run with a protection switched off. It must fail, in the way it says. */
export interface Control extends Off {
  /** The protection, for the table. */
  readonly without: string;
  readonly shows: ProblemKind;
  /** Runs before the load. */
  readonly before?: (scene: Scene) => Promise<void>;
  /** Undoes what `before` did to what other runs use too. */
  readonly after?: (scene: Scene) => Promise<void>;
}

/** One way to break things, and what must hold nevertheless. */
export interface Cell extends Setting {
  readonly name: string;
  /** What is broken, for the table. */
  readonly breaks: string;
  readonly controls: readonly Control[];
  /** On a cluster of three. */
  readonly clustered?: true;
  /** It breaks more than its own queue: nothing else may run beside it. */
  readonly alone?: true;
  /** More than this would show nothing new and take long. */
  readonly most?: { readonly rate?: number; readonly seconds?: number };
  /** Share of the load that is confirmed when the fault comes. Default 0.4. */
  readonly faultAt?: number;
  /** Runs before any worker. */
  readonly before?: (scene: Scene) => void | Promise<void>;
  readonly fault: (scene: Scene) => Promise<void>;
  /** Most duplicates. Default: what those who were hit held at the faults, and the effects in the second before. */
  readonly bound?: (scene: Scene, ledger: Ledger) => number;
  /** What must hold besides. */
  readonly judge?: (scene: Scene, ledger: Ledger) => Problem[] | Promise<Problem[]>;
}

/** A problem, unless its count is 0. */
export const problem = (kind: ProblemKind, count: number, text: string): Problem[] => (count > 0 ? [{ kind, count, text }] : []);
