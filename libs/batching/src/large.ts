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

/** Reads a source from a cursor on in chunks, each when the one before was taken. */
export async function* chunks<T>(source: Source<T>, cursor: number, size: number): AsyncGenerator<T[]> {
  const items = typeof source === 'function' ? source(cursor) : source;
  let skip = typeof source === 'function' ? 0 : cursor;
  if (Array.isArray(items)) {
    for (let at = skip; at < items.length; at += size) yield items.slice(at, at + size);
    return;
  }
  // By hand, since `for await` waits at each item also where the source does not.
  const isAsync = Symbol.asyncIterator in items;
  const iterator = isAsync ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let chunk: T[] = [];
  let open = true;
  try {
    while (open) {
      const next = iterator.next();
      const { done, value } = isAsync ? await next : (next as IteratorResult<T>);
      open = !done;
      if (open && skip-- <= 0) chunk.push(value);
      if (chunk.length < size && (open || chunk.length === 0)) continue;
      yield chunk;
      chunk = [];
    }
  } finally {
    if (open) await iterator.return?.();
  }
}

/** One run over a source: chunks on their way, and the cursor behind which all are settled. */
export class Run {
  private readonly progress: { -readonly [F in keyof Progress]: Progress[F] };
  /** All chunks so far. Rejects with what ends the run: the queue was closed, or `onProgress` threw. */
  private last: Promise<unknown> = Promise.resolve();
  private problem: { readonly error: unknown } | undefined;

  constructor(private readonly options: ProcessAllOptions<never>) {
    this.progress = { cursor: options.cursor ?? 0, succeeded: 0, failed: 0 };
  }

  /** Watches one more chunk. @throws what ended the run */
  chunk(size: number): Watcher {
    if (this.problem) throw this.problem.error;
    let left = size;
    let watcher!: Watcher;
    const settled = new Promise<void>((resolve, reject) => {
      watcher = (error, undone) => {
        if (undone) return reject(error);
        this.progress[error ? 'failed' : 'succeeded']++;
        if (--left === 0) resolve();
      };
    });
    this.last = Promise.all([this.last, settled]).then(() => {
      this.progress.cursor += size;
      this.options.onProgress?.({ ...this.progress });
    });
    this.last.catch((error: unknown) => {
      this.problem = { error };
    });
    return watcher;
  }

  /** Resolves when every chunk is settled. @throws what ended the run */
  async over(): Promise<Progress> {
    await this.last;
    return { ...this.progress };
  }
}
