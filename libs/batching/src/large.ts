import type { Watcher } from './entry.js';

/** Items of any number. A function is called with the cursor and starts there; of anything else the items before it are skipped. */
export type Source<T> = Iterable<T> | AsyncIterable<T> | ((cursor: number) => Iterable<T> | AsyncIterable<T>);

export interface EnqueueManyOptions<T> {
  /** Of all items, or of each. Default: `defaultPriority`. */
  readonly priority?: number | ((item: T) => number);
  /** Stops reading. */
  readonly signal?: AbortSignal;
}

/** How far a source has been processed. */
export interface Progress {
  /** All items before this one are settled: where another run may begin. */
  readonly cursor: number;
  readonly succeeded: number;
  /** Given up: with `onDead`, or in `deadLetters`. */
  readonly failed: number;
}

export interface ProcessAllOptions<T> extends EnqueueManyOptions<T> {
  /** Items of the source that an earlier run settled. Default 0. */
  readonly cursor?: number;
  /** Told when the cursor has moved; what it throws ends the run, since a cursor that cannot be noted is worth stopping for. */
  readonly onProgress?: (progress: Progress) => void;
}

/** Longest time in ms that a source without pauses may keep timers and sockets from their turn. */
const BREATH_MS = 10;

/** Reads a source in chunks, each when the last was taken, until `take` says no. */
export async function feed<T>(source: Source<T>, cursor: number, size: number, take: (items: T[]) => Promise<boolean>): Promise<void> {
  const items = typeof source === 'function' ? source(cursor) : source;
  let skip = typeof source === 'function' ? 0 : cursor;
  let chunk: T[] = [];
  let breath = performance.now();
  const more = async (): Promise<boolean> => {
    const full = chunk;
    chunk = [];
    if (!(await take(full))) return false;
    if (performance.now() - breath < BREATH_MS) return true;
    await new Promise(setImmediate);
    breath = performance.now();
    return true;
  };
  const fills = (item: T): boolean => (skip > 0 ? skip-- === 0 : chunk.push(item) === size);
  if (Symbol.asyncIterator in items) {
    for await (const item of items) if (fills(item) && !(await more())) return;
  } else {
    for (const item of items) if (fills(item) && !(await more())) return;
  }
  if (chunk.length > 0) await more();
}

/** One run over a source: chunks on their way, in order, and the cursor behind which all are settled. */
export class Run {
  cursor: number;
  succeeded = 0;
  failed = 0;
  private readonly chunks: { left: number; readonly end: number }[] = [];
  private problem: { readonly error: unknown } | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly options: ProcessAllOptions<never>) {
    this.cursor = options.cursor ?? 0;
  }

  /** Watches one more chunk. @throws what ended the run */
  chunk(size: number): Watcher {
    if (this.problem) throw this.problem.error;
    const chunk = { left: size, end: (this.chunks.at(-1)?.end ?? this.cursor) + size };
    this.chunks.push(chunk);
    return {
      settled: (error, given) => {
        if (error && !given) return this.end(error);
        if (error) this.failed++;
        else this.succeeded++;
        if (--chunk.left === 0) this.advance();
      },
    };
  }

  /** Resolves when every chunk is settled. @throws what ended the run */
  async over(): Promise<Progress> {
    while (this.chunks.length > 0 && !this.problem)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    if (this.problem) throw this.problem.error;
    return this.progress();
  }

  private advance(): void {
    const before = this.cursor;
    while (this.chunks[0]?.left === 0) this.cursor = this.chunks.shift()!.end;
    if (this.cursor === before) return;
    try {
      this.options.onProgress?.(this.progress());
    } catch (error) {
      this.end(error);
    }
    this.wake?.();
  }

  private end(error: unknown): void {
    this.problem ??= { error };
    this.wake?.();
  }

  private progress(): Progress {
    return { cursor: this.cursor, succeeded: this.succeeded, failed: this.failed };
  }
}
