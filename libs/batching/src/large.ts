import type { Watcher } from './entry.js';

/** Items of any number. A function is called with the cursor and starts there; of anything else the items before it are skipped. */
export type Source<T> = Iterable<T> | AsyncIterable<T> | ((cursor: number) => Iterable<T> | AsyncIterable<T>);

/** How many items are enqueued. */
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

/** How a source is processed from one end to the other. */
export interface ProcessAllOptions<T> extends EnqueueManyOptions<T> {
  /** Items of the source that an earlier run settled. Default 0. */
  readonly cursor?: number;
  /** Told when the cursor has moved; what it throws ends the run, since a cursor that cannot be noted is worth stopping for. */
  readonly onProgress?: (progress: Progress) => void;
}

/** Reads a source from a cursor on in chunks, each when the one before was taken. */
export async function* chunks<T>(source: Source<T>, cursor: number, size: number): AsyncGenerator<T[]> {
  const items = typeof source === 'function' ? source(cursor) : source;
  let skip = typeof source === 'function' ? 0 : cursor;
  if (Array.isArray(items)) {
    for (let at = skip; at < items.length; at += size) yield items.slice(at, at + size);
    return;
  }
  const chunk: T[] = [];
  const isFull = (item: T) => skip-- <= 0 && chunk.push(item) === size;
  // Not one loop for both, since `for await` waits at each item also where the source does not.
  if (Symbol.asyncIterator in items) {
    for await (const item of items) if (isFull(item)) yield chunk.splice(0);
  } else for (const item of items) if (isFull(item)) yield chunk.splice(0);
  if (chunk.length > 0) yield chunk;
}

/** One run over a source: chunks on their way, and the cursor behind which all are settled. */
export class Run {
  readonly progress: { -readonly [F in keyof Progress]: Progress[F] };
  /** In the order of the source. */
  private readonly open: { readonly size: number; left: number }[] = [];
  private problem: { readonly error: unknown } | undefined;

  constructor(private readonly options: ProcessAllOptions<never>) {
    this.progress = { cursor: options.cursor ?? 0, succeeded: 0, failed: 0 };
  }

  /** Whether every chunk is settled. @throws what ended the run: the queue was closed, or `onProgress` threw */
  isOver(): boolean {
    if (this.problem) throw this.problem.error;
    return this.open.length === 0;
  }

  /** Watches one more chunk. @throws as isOver */
  chunk(size: number): Watcher {
    this.isOver();
    const chunk = { size, left: size };
    this.open.push(chunk);
    return (error, undone) => {
      if (undone) this.problem ??= { error };
      else this.progress[error ? 'failed' : 'succeeded']++;
      chunk.left--;
      try {
        while (!this.problem && this.open[0]?.left === 0) {
          this.progress.cursor += this.open.shift()!.size;
          this.options.onProgress?.({ ...this.progress });
        }
      } catch (thrown) {
        this.problem = { error: thrown };
      }
    };
  }
}
