import { Check } from './check.js';
import { type Clock, systemClock } from './clock.js';
import type { BatchedQueueOptions } from './options.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const NAME_FORM = 'letters, digits, _, - and ., at most 64';

const HOOKS = ['onEnqueue', 'onBatchStart', 'onBatchComplete', 'onProcessed', 'onQueueSizeChange', 'onError', 'onDrop'];
const FUNCTIONS = ['batchingStrategy', 'onDead', 'sizeOf', 'retryStrategy.retryableCheck', ...HOOKS.map((hook) => `hooks.${hook}`)];

const isName = (value: unknown) => typeof value === 'string' && NAME.test(value);
const isFunction = (value: unknown) => typeof value === 'function';
const isStorage = (value: unknown) => ['journal', 'broker'].includes((value as { kind?: string } | undefined)?.kind ?? '');
const isClock = (value: unknown) => isFunction((value as Partial<Clock>).now) && isFunction((value as Partial<Clock>).after);

export type CompiledOptions<T, R> = ReturnType<typeof compileOptions<T, R>>;

/**
 * Fills in defaults, turns durations into ms.
 * @throws BatchingError `invalid-options`; `details.problems` lists every problem, not only the first
 */
export function compileOptions<T, R>(options: BatchedQueueOptions<T, R>) {
  const check = new Check(options);
  const levels = check.integer('priorityLevels', 3, 1, 1000);
  const batchSize = check.integer('batchSize', 100, 1, 1_000_000);
  check.fits('processor', 'a function', isFunction);
  for (const path of FUNCTIONS) check.fits(path, 'a function', isFunction, null);
  const isStored = check.fits(
    'persistence.enabled',
    'true or false',
    (value) => typeof value === 'boolean',
    options.persistence !== undefined,
  );
  check.fits('persistence.storage', 'a storage, such as fileSystemStorage({ directory })', isStorage, isStored ? undefined : null);
  const compiled = {
    name: check.fits('name', NAME_FORM, isName) as string,
    processor: options.processor,
    batchSize,
    flushMs: check.duration('flushInterval', 1000),
    levels,
    defaultPriority: check.integer('defaultPriority', Math.floor(levels / 2), 0, levels - 1),
    concurrency: check.integer('concurrency', 1, 1, 10_000),
    throttleMs: check.duration('throttle', 0),
    rate: options.rateLimit && {
      items: check.integer('rateLimit.items', undefined, 1),
      intervalMs: check.duration('rateLimit.interval', undefined, 1),
    },
    strategy: options.batchingStrategy,
    retry: {
      maxRetries: check.integer('retryStrategy.maxRetries', options.retryStrategy ? 3 : 0, 0, 1_000_000),
      check: options.retryStrategy?.retryableCheck,
      initialMs: check.duration('retryStrategy.backoff.initialDelay', 1000),
      multiplier: check.number('retryStrategy.backoff.multiplier', 2, 1, 10),
      maxMs: check.duration('retryStrategy.backoff.maxDelay', 60_000),
      jitter: check.number('retryStrategy.backoff.jitter', 0.2, 0, 1),
    },
    onDead: options.onDead,
    hooks: options.hooks ?? {},
    maxSize: check.integer('maxQueueSize', 1_000_000, 1),
    maxBytes: check.integer('maxBytes', Number.POSITIVE_INFINITY, 1),
    sizeOf: options.sizeOf ?? ((item: T) => JSON.stringify(item)?.length ?? 0),
    drop: check.oneOf('dropBehavior', ['reject-new', 'drop-oldest', 'wait'] as const),
    storage: isStored ? options.persistence?.storage : undefined,
    storageKey: check.fits('persistence.storageKey', NAME_FORM, isName, options.name ?? '') as string,
    saveMs: check.duration('persistence.saveInterval', 1000, 1),
    closeMs: check.duration('closeTimeout', 10_000),
    clock: check.fits('clock', 'a Clock', isClock, systemClock) as Clock,
  };
  check.end();
  return compiled;
}
