import { type Clock, systemClock } from './clock.js';
import { BatchingError } from './errors.js';
import type { BatchedQueueOptions } from './options.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const NAME_FORM = 'letters, digits, _, - and ., at most 64';
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const LONGEST_MS = 100 * 366 * 86_400_000;
const DROPS = ['reject-new', 'drop-oldest', 'wait'] as const;
const HOOKS = ['onEnqueue', 'onBatchStart', 'onBatchComplete', 'onProcessed', 'onQueueSizeChange', 'onError', 'onDrop'];
const FUNCTIONS = ['batchingStrategy', 'onDead', 'sizeOf', 'retryStrategy.retryableCheck', ...HOOKS.map((hook) => `hooks.${hook}`)];

const isName = (value: unknown) => typeof value === 'string' && NAME.test(value);
const isFunction = (value: unknown) => typeof value === 'function';
const isStorage = (value: unknown) => ['journal', 'broker'].includes((value as { kind?: string } | undefined)?.kind ?? '');
const isClock = (value: unknown) => isFunction((value as Partial<Clock>).now) && isFunction((value as Partial<Clock>).after);
const isIn = (value: unknown, least: number, most: number) => typeof value === 'number' && value >= least && value <= most;

export type CompiledOptions<T, R> = ReturnType<typeof compileOptions<T, R>>;

/**
 * Fills in defaults, turns durations into ms.
 * @throws BatchingError `invalid-options`; `details.problems` lists every problem, not only the first
 */
export function compileOptions<T, R>(options: BatchedQueueOptions<T, R>) {
  const check = new Check(options);
  const levels = check.integer('priorityLevels', 3, 1, 1000);
  check.fits('processor', 'a function', isFunction);
  for (const path of FUNCTIONS) check.fits(path, 'a function', isFunction, null);
  const isStored = check.fits('persistence.enabled', 'true or false', (value) => typeof value === 'boolean', Boolean(options.persistence));
  check.fits('persistence.storage', 'a storage, such as fileSystemStorage({ directory })', isStorage, isStored ? undefined : null);
  const compiled = {
    name: check.fits('name', NAME_FORM, isName) as string,
    processor: options.processor,
    batchSize: check.integer('batchSize', 100, 1, 1_000_000),
    flushMs: check.duration('flushInterval', 1000),
    levels,
    defaultPriority: check.integer('defaultPriority', Math.floor(levels / 2), 0, levels - 1),
    concurrency: check.integer('concurrency', 1, 1, 10_000),
    throttleMs: check.duration('throttle', 0),
    rateItems: check.integer('rateLimit.items', options.rateLimit ? undefined : Number.POSITIVE_INFINITY, 1),
    rateMs: check.duration('rateLimit.interval', options.rateLimit ? undefined : 0, 1),
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
    drop: check.fits(
      'dropBehavior',
      DROPS.join(', '),
      (value) => DROPS.includes(value as never),
      DROPS[0],
      DROPS,
    ) as (typeof DROPS)[number],
    storage: isStored ? options.persistence?.storage : undefined,
    storageKey: check.fits('persistence.storageKey', NAME_FORM, isName, options.name ?? '') as string,
    saveMs: check.duration('persistence.saveInterval', 1000, 1),
    closeMs: check.duration('closeTimeout', 10_000),
    clock: check.fits('clock', 'a Clock', isClock, systemClock) as Clock,
  };
  check.end();
  return compiled;
}

/** Milliseconds of a duration; NaN when it is none. */
export function toMs(value: unknown): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value.trim()) : null;
  const ms = match ? Number(match[1]) * UNITS[match[2]!]! : value;
  return isIn(ms, 0, LONGEST_MS) ? Math.round(ms as number) : Number.NaN;
}

/** Reads options by path (`retryStrategy.backoff.jitter`) and gathers all that is wrong with them. */
class Check {
  private readonly problems: string[] = [];
  private readonly paths: string[] = [];

  constructor(private readonly options: object) {}

  /** @param otherwise the default; undefined: the option is needed; null: it may be missing */
  fits(path: string, expected: string, good: (value: unknown) => boolean, otherwise?: unknown, names: readonly string[] = []): unknown {
    this.paths.push(path);
    const value = path.split('.').reduce<unknown>((group, key) => (group as Record<string, unknown> | undefined)?.[key], this.options);
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (good(value)) return value;
    this.problems.push(`expected ${path} to be ${expected}; got ${show(value)}${suggest(value, names)}`);
    return otherwise;
  }

  number(path: string, otherwise: number | undefined, least: number, most: number, kind = 'a number', good = (_: unknown) => true): number {
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    return this.fits(path, `${kind} ${range}`, (value) => good(value) && isIn(value, least, most), otherwise) as number;
  }

  integer(path: string, otherwise: number | undefined, least: number, most = Number.MAX_SAFE_INTEGER): number {
    return this.number(path, otherwise, least, most, 'a whole number', Number.isInteger);
  }

  /** In ms. */
  duration(path: string, otherwise: number | undefined, least = 0): number {
    const expected = `milliseconds from ${least}, or a number with ms, s, m, h or d, as in "5s"`;
    return toMs(this.fits(path, expected, (value) => toMs(value) >= least, otherwise));
  }

  /** @throws BatchingError `invalid-options` with every problem, unknown options among them */
  end(): void {
    this.unknown(this.options, '');
    const { problems } = this;
    if (problems.length === 0) return;
    throw new BatchingError('invalid-options', `the options of the queue do not fit:\n- ${problems.join('\n- ')}`, { problems });
  }

  /** What was not asked for, in a group and the groups in it. */
  private unknown(group: object, prefix: string): void {
    const names = this.paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length).split('.')[0]!);
    for (const [key, value] of Object.entries(group)) {
      const path = prefix + key;
      if (!names.includes(key)) this.problems.push(`unknown option ${path}${suggest(key, names)}`);
      else if (this.paths.includes(path) || value === undefined) continue;
      else if (typeof value === 'object' && value !== null) this.unknown(value, `${path}.`);
      else this.problems.push(`expected ${path} to be an object; got ${show(value)}`);
    }
  }
}

const show = (value: unknown): string => (typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value));

/** Names the one that shares the most letters, if it is near enough for a slip of the pen. */
function suggest(word: unknown, names: readonly string[]): string {
  if (typeof word !== 'string' || word.length > 64) return '';
  const extra = (one: string, other: string) =>
    [...other.toLowerCase()].reduce((rest, letter) => rest.replace(letter, ''), one.toLowerCase());
  const distance = (name: string) => extra(word, name).length + extra(name, word).length;
  const [best] = names.toSorted((one, other) => distance(one) - distance(other));
  return best && distance(best) <= Math.max(1, word.length / 3) ? `, did you mean "${best}"?` : '';
}
