import { type Clock, systemClock } from './clock.js';
import { BatchingError } from './errors.js';
import { callable, duration, fits, type Given, number, oneOf, optional, readBy, type Values, whole } from './rules.js';
import type { BatchHandle, BatchStorage, StorageDamage, StoredItem } from './storage.js';

const NAME_FORM = 'letters, digits, _, - and ., at most 64';
const HOOKS = ['onEnqueue', 'onBatchStart', 'onBatchComplete', 'onProcessed', 'onQueueSizeChange', 'onError', 'onDrop'];

const isName = (value: unknown) => typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(value);
const isStorage = (value: unknown) => ['journal', 'broker'].includes((value as { kind?: string } | null)?.kind ?? '');
const isClock = (value: unknown) => typeof (value as Partial<Clock> | null)?.after === 'function';

/** What became of one item. `value` is needed unless the queue's result type is `void`. */
export type BatchResult<R = void> =
  // biome-ignore lint/suspicious/noConfusingVoidType: the result type of a queue without results is `void`
  | ([R] extends [void] ? { readonly success: true; readonly value?: R } : { readonly success: true; readonly value: R })
  /** `retryable` decides alone when it is given; otherwise `retryableCheck` is asked. */
  | { readonly success: false; readonly error?: unknown; readonly retryable?: boolean };

/** What a processor knows about its call. */
export interface BatchContext {
  readonly queue: string;
  /** Number of the batch, from 1. */
  readonly batch: number;
  /** Earlier attempts of each item, in the order of the items. */
  readonly attempts: readonly number[];
  /** Fires when the queue closes: end soon, or the items are left where they were. */
  readonly signal: AbortSignal;
}

/** Handles a batch and returns one result per item, in the order of the items. A throw fails all of them. */
export type BatchProcessor<T, R = void> = (
  items: readonly T[],
  context: BatchContext,
) => readonly BatchResult<R>[] | Promise<readonly BatchResult<R>[]>;

/** An item that was given up. */
export interface DeadItem<T> extends Omit<StoredItem<T>, 'dead'> {
  readonly error: unknown;
}

/** One call of the processor. */
export interface Batch<T> {
  readonly batch: number;
  readonly items: readonly T[];
}

/** Called as things happen. What a hook throws, also later, goes to `onError`; nothing else comes of it. */
export interface BatchHooks<T, R = void> {
  readonly onEnqueue?: (item: T, about: { readonly id: number | string; readonly priority: number }) => unknown;
  readonly onBatchStart?: (batch: Batch<T>) => unknown;
  readonly onBatchComplete?: (batch: Batch<T> & Readonly<Record<'succeeded' | 'failed' | 'durationMs', number>>) => unknown;
  /** An item succeeded. */
  readonly onProcessed?: (item: T, about: { readonly value: R | undefined; readonly attempts: number }) => unknown;
  /** Items that wait, also for a retry; called at most once per step of the queue. */
  readonly onQueueSizeChange?: (size: number) => unknown;
  /** Failed batches and items, hooks that threw, damaged or failing storage. Default: a Node warning for the last three. */
  readonly onError?: (
    error: Error,
    about: { readonly during: string; readonly items?: readonly T[]; readonly damage?: StorageDamage },
  ) => unknown;
  /** An item leaves without having been processed: pushed out (`overflow`), or the queue closed without a storage (`closed`). */
  readonly onDrop?: (item: T, reason: 'overflow' | 'closed') => unknown;
}

type Leading = 'name' | 'priorityLevels' | 'rateLimit' | 'retryStrategy' | 'persistence';

/** Every option with its check and its default; the type of the options follows from it. */
const rulesFor = ({ name, priorityLevels: levels = 3, rateLimit, retryStrategy, persistence }: Partial<Record<Leading, unknown>>) => ({
  processor: callable<object>(),
  name: fits<string>(NAME_FORM, isName),
  /** Most items per batch. Larger: fewer calls, longer waits, more to repeat after a crash. Default 100. */
  batchSize: whole(100, 1, 1_000_000),
  /** Longest wait of an item for its batch to fill. Shorter: quicker and smaller batches. Default 1s. */
  flushInterval: duration(1000),
  /** Priorities run from 0, the highest, to this minus 1. A lower one waits as long as there is a higher one. Default 3. */
  priorityLevels: whole(3, 1, 1000),
  /** Of items that name none. Default: the middle level, 1 of 3. */
  defaultPriority: whole(Math.floor(Number(levels) / 2), 0, Number(levels) - 1),
  /** Batches at a time. Default 1: batches start and end in order. */
  concurrency: whole(1, 1, 10_000),
  /** Least time between the starts of two batches. Default 0. */
  throttle: duration(0),
  rateLimit: {
    items: whole(rateLimit ? undefined : Number.POSITIVE_INFINITY, 1),
    interval: duration(rateLimit ? undefined : 0, 1),
  },
  batchingStrategy: optional<unknown>(),
  /** When and how failed items come again. Default: no retries. `{}` gives three. */
  retryStrategy: {
    /** Further attempts after the first. Default 3. */
    maxRetries: whole(retryStrategy ? 3 : 0, 0, 1_000_000),
    /** Whether an error may pass. Asked when the result does not say. Default: every error may. */
    retryableCheck: optional<(error: unknown) => boolean>(),
    /** The delay before retry n is `initialDelay × multiplier^(n-1)`, capped, then spread by the jitter. */
    backoff: {
      /** Default 1s. */
      initialDelay: duration(1000),
      /** 1 to 10. Default 2. */
      multiplier: number(2, 1, 10),
      /** No delay is longer. Default 1m. */
      maxDelay: duration(60_000),
      /** Random part of the delay, 0 to 1: 0.2 is ± 20 %. Keeps items that failed together from coming back together. Default 0.2. */
      jitter: number(0.2, 0, 1),
    },
  },
  onDead: optional<unknown>(),
  hooks: Object.fromEntries(HOOKS.map((hook) => [hook, optional()])) as object,
  /** Most waiting items, those that wait for a retry among them. Retries may exceed it by what is running. Default 1,000,000. */
  maxQueueSize: whole(1_000_000, 1),
  /** Most bytes of waiting items by `sizeOf`. Costs a measurement per item. Default: no limit. */
  maxBytes: whole(Number.POSITIVE_INFINITY, 1),
  sizeOf: callable<object>((item: unknown) => JSON.stringify(item)?.length ?? 0),
  /**
   * At the limit: `reject-new` (QueueFullError), `drop-oldest` (the oldest item of the lowest priority that waits; `onDrop` and its handle
   * are told), or `wait` (enqueue resolves when there is room). Default `reject-new`.
   */
  dropBehavior: oneOf('reject-new', 'drop-oldest', 'wait'),
  persistence: {
    /** Default true when `persistence` is given: a switch for configuration. */
    enabled: fits<boolean>('true or false', (value) => typeof value === 'boolean', persistence !== undefined),
    /** Name of this queue's data in the storage. Default: the queue's name. */
    storageKey: fits(NAME_FORM, isName, String(name)),
    /** Most time between acceptance and safety; what a crash may lose. Shorter writes more often. A storage that is `sync` ignores it. Default 1s. */
    saveInterval: duration(1000, 1),
    storage: fits<unknown>('a storage, such as fileSystemStorage({ directory })', isStorage, isStored(persistence) ? undefined : null),
  },
  /** How long `close` waits for running batches after their signal fired. Default 10s. */
  closeTimeout: duration(10_000),
  /** For tests. Default: the system's. */
  clock: fits<Clock>('a Clock', isClock, systemClock),
});

const isStored = (persistence: unknown) => persistence !== undefined && (persistence as { enabled?: unknown }).enabled !== false;

type Rules = ReturnType<typeof rulesFor>;

/** When and how failed items come again. */
export type RetryStrategy = Given<Rules['retryStrategy']>;

/** What a broker knows of the queue that it serves. */
export interface BrokerLink<T, R> {
  /** The queue's options, durations in ms. */
  readonly settings: Values<Rules>;
  /** What the `result` of a handle rejects with when its item was given up. */
  failure(id: string, attempts: number, cause: Error): Error;
  /** Hands over a delivered item; rejects with an ItemFailedError (code `item-failed`) whose `retryable` says whether the item may come again. */
  deliver(item: T, about: { readonly priority: number; readonly attempt: number }): Promise<R>;
}

/** A storage that also hands items out, to several processes: retries, dead letters and order are its own. */
export interface BatchBroker<T, R = void> {
  readonly kind: 'broker';
  /** Connects, and begins to hand items out to `link.deliver`. Called once, before anything else; what it throws, the queue's first call throws. */
  open(link: BrokerLink<T, R>): Promise<void>;
  /** Stores an item; resolves when it would survive a crash. @param priority from 0, the highest */
  enqueue(item: T, priority: number): Promise<BatchHandle<R>>;
  /** Items in the shared queue that are not settled. */
  depth(): Promise<number>;
  /** Stops handing out, waits for what is handed out, then hands the rest back. */
  close(timeoutMs: number): Promise<void>;
}

/** Where items live beside memory. */
export interface PersistenceOptions<T, R = void> extends Given<Rules['persistence']> {
  /** `fileSystemStorage`, `memoryStorage`, `jetStreamStorage` of `@jetlane/worker/batching`, or one's own. */
  readonly storage: BatchStorage<T> | BatchBroker<T, R>;
}

/** Options of a queue. Only `name` and `processor` are needed. */
export interface BatchedQueueOptions<T, R = void> extends Given<Rules> {
  /** Letters, digits, `_`, `-` and `.`, at most 64; in errors, and the default storage key. */
  readonly name: string;
  readonly processor: BatchProcessor<T, R>;
  /**
   * Groups waiting items, highest priority first, into batches. Called when a batch is due; the first batch is taken, cut at `batchSize`.
   * What it leaves out stays queued and is shown again when items come, a batch ends, or `flushInterval` passes. It costs time in
   * proportion to the depth per batch. Default: in order of priority, then of arrival.
   */
  readonly batchingStrategy?: (items: readonly T[]) => readonly (readonly T[])[];
  /** Takes over items that were given up. Default: they are kept in `deadLetters`, and in the storage. */
  readonly onDead?: (dead: DeadItem<T>) => unknown;
  readonly hooks?: BatchHooks<T, R>;
  /** At most so many items start in any span of `interval`; also caps the batch. Retries count again. Default: no limit. */
  readonly rateLimit?: Required<Given<Rules['rateLimit']>>;
  /** Bytes of an item, for `maxBytes`. Default: the length of its JSON. */
  readonly sizeOf?: (item: T) => number;
  readonly persistence?: PersistenceOptions<T, R>;
}

/** The options with their defaults, and durations in ms. */
export type CompiledOptions<T, R> = Values<Rules> &
  Pick<BatchedQueueOptions<T, R>, 'processor' | 'sizeOf' | 'hooks' | 'batchingStrategy' | 'onDead'> & {
    /** Undefined when items are kept in memory alone. */
    readonly storage: PersistenceOptions<T, R>['storage'] | undefined;
  };

/** @throws BatchingError `invalid-options`; `details.problems` lists every problem, not only the first */
export function compileOptions<T, R>(options: BatchedQueueOptions<T, R>): CompiledOptions<T, R> {
  const problems: string[] = [];
  const values = readBy(rulesFor(options), options, problems) as CompiledOptions<T, R>;
  if (problems.length > 0)
    throw new BatchingError('invalid-options', `the options of the queue do not fit:\n- ${problems.join('\n- ')}`, { problems });
  const sizeOf = values.maxBytes === Number.POSITIVE_INFINITY ? () => 0 : values.sizeOf;
  return { ...values, sizeOf, storage: isStored(options.persistence) ? options.persistence?.storage : undefined };
}
