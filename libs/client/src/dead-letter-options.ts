import type { Lane } from '@jetlane/protocol';

/** A page of a list. */
export interface PageOptions {
  /** 1 to 1000. Default 100. */
  readonly limit?: number;
  /** `next` of the page before. */
  readonly after?: number;
}

/** How one dead letter is sent back. */
export interface RedriveOptions {
  /** Default: the lane it came from. */
  readonly lane?: Lane;
  /** Another payload: any JSON value, or bytes together with `contentType`. Default: as it was. */
  readonly data?: unknown;
  /** Media type of bytes in `data`: needed with them, and refused without. */
  readonly contentType?: string;
  /** Who asks: for the log of the service and the audit. On one line, else `invalid-headers`. Default `unknown`. */
  readonly by?: string;
}

/** How many dead letters are redriven or discarded. */
export interface ManyOptions {
  /** Most dead letters a second, 0.1 to 10,000. Default 100. */
  readonly rate?: number;
  /** Where an earlier job stopped: its `cursor`. */
  readonly after?: number;
  /** Needed for a filter without a condition. */
  readonly all?: true;
  /** Who asks: for the log of the service and the audit. On one line, else `invalid-headers`. Default `unknown`. */
  readonly by?: string;
}
