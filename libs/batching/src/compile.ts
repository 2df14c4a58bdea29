import { systemClock } from './clock.js';
import { BatchingError } from './errors.js';
import type { BatchedQueueOptions, Duration } from './options.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const LONGEST_MS = 100 * 366 * 86_400_000;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

const HOOKS = ['onEnqueue', 'onBatchStart', 'onBatchComplete', 'onProcessed', 'onQueueSizeChange', 'onError', 'onDrop'];
const FUNCTIONS = ['batchingStrategy', 'onDead', 'sizeOf', 'retryStrategy.retryableCheck', ...HOOKS.map((hook) => `hooks.${hook}`)];

export type CompiledOptions<T, R> = ReturnType<typeof compileOptions<T, R>>;

/**
 * Fills in defaults, turns durations into ms.
 * @throws BatchingError `invalid-options`; `details.problems` lists every problem, not only the first
 */
export function compileOptions<T, R>(options: BatchedQueueOptions<T, R>) {
  const check = new Check(options);
  const levels = check.integer('priorityLevels', 3, 1, 1000);
  const batchSize = check.integer('batchSize', 100, 1, 1_000_000);
  check.func('processor', true);
  for (const path of FUNCTIONS) check.func(path);
  const compiled = {
    name: check.fits('name', 'letters, digits, _, - and ., at most 64', (value) => typeof value === 'string' && NAME.test(value)) as string,
    processor: options.processor,
    batchSize,
    flushMs: check.duration('flushInterval', 1000),
    levels,
    defaultPriority: check.integer('defaultPriority', Math.floor(levels / 2), 0, levels - 1),
    concurrency: check.integer('concurrency', 1, 1, 10_000),
    throttleMs: check.duration('throttle', 0),
    rate: options.rateLimit && {
      items: check.integer('rateLimit.items', 0, 1, Number.MAX_SAFE_INTEGER),
      intervalMs: check.duration('rateLimit.interval', 0, 1),
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
    maxSize: check.integer('maxQueueSize', 1_000_000, 1, Number.MAX_SAFE_INTEGER),
    maxBytes: options.maxBytes === undefined ? Number.POSITIVE_INFINITY : check.integer('maxBytes', 0, 1, Number.MAX_SAFE_INTEGER),
    sizeOf: options.sizeOf ?? ((item: T) => JSON.stringify(item)?.length ?? 0),
    drop: check.oneOf('dropBehavior', ['reject-new', 'drop-oldest', 'wait'] as const),
    storage: check.storage(options),
    storageKey: check.fits(
      'persistence.storageKey',
      'letters, digits, _, - and ., at most 64',
      (value) => NAME.test(String(value)),
      options.name,
    ),
    saveMs: check.duration('persistence.saveInterval', 1000, 1),
    closeMs: check.duration('closeTimeout', 10_000),
    clock: options.clock ?? systemClock,
  };
  check.end();
  return compiled;
}

/** Milliseconds of a duration, or undefined when it is none. */
export function toMs(value: Duration): number | undefined {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value.trim()) : null;
  const ms = match ? Number(match[1]) * UNITS[match[2]!]! : value;
  return typeof ms === 'number' && ms >= 0 && ms <= LONGEST_MS ? Math.round(ms) : undefined;
}

/** Reads options by path and gathers what is wrong with them. */
class Check {
  private readonly problems: string[] = [];

  constructor(private readonly options: object) {
    for (const group of Object.keys(KNOWN)) this.names(group);
  }

  integer(path: string, otherwise: number, least: number, most: number): number {
    const whole = (value: unknown) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
    return this.fits(path, `a whole number from ${least} to ${most}`, whole, otherwise) as number;
  }

  number(path: string, otherwise: number, least: number, most: number): number {
    const within = (value: unknown) => typeof value === 'number' && value >= least && value <= most;
    return this.fits(path, `a number from ${least} to ${most}`, within, otherwise) as number;
  }

  duration(path: string, otherwise: number, least = 0): number {
    const value = this.fits(
      path,
      `${least} ms or more, or a number with ms, s, m, h or d`,
      (v) => (toMs(v as Duration) ?? -1) >= least,
      otherwise,
    );
    return toMs(value as Duration) ?? otherwise;
  }

  oneOf<V extends string>(path: string, values: readonly [V, ...V[]]): V {
    return this.fits(path, values.join(', '), (value) => values.includes(value as V), values[0], values) as V;
  }

  func(path: string, needed = false): void {
    this.fits(path, 'a function', (value) => typeof value === 'function' || (value === undefined && !needed));
  }

  storage<T, R>({ persistence }: BatchedQueueOptions<T, R>) {
    if (!persistence || persistence.enabled === false) return undefined;
    const kinds = ['journal', 'broker'];
    this.fits('persistence.storage', 'a storage, such as fileSystemStorage({ directory })', (value) =>
      kinds.includes((value as { kind: string })?.kind),
    );
    return persistence.storage;
  }

  fits(path: string, expected: string, good: (value: unknown) => boolean, otherwise?: unknown, names: readonly string[] = []): unknown {
    const value = this.at(path) ?? otherwise;
    // A default that depends on other options is not the user's mistake.
    if (this.at(path) === undefined && otherwise !== undefined) return value;
    if (good(value)) return value;
    const near = typeof value === 'string' ? closest(value, names) : undefined;
    this.problems.push(`expected ${path} to be ${expected}; got ${show(value)}${near ? `, did you mean "${near}"?` : ''}`);
    return otherwise;
  }

  /** @throws BatchingError */
  end(): void {
    if (this.problems.length > 0)
      throw new BatchingError('invalid-options', `the queue's options do not fit:\n- ${this.problems.join('\n- ')}`, {
        problems: this.problems,
      });
  }

  private at(path: string): unknown {
    return path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], this.options);
  }

  private names(group: string): void {
    const value = group === '' ? this.options : this.at(group);
    if (value === undefined) return;
    if (typeof value !== 'object' || value === null)
      return void this.problems.push(`expected ${group} to be an object; got ${show(value)}`);
    for (const key of Object.keys(value).filter((name) => !KNOWN[group]!.includes(name))) {
      const near = closest(key, KNOWN[group]!);
      this.problems.push(`unknown option ${group ? `${group}.` : ''}${key}${near ? `; did you mean "${near}"?` : ''}`);
    }
  }
}

const show = (value: unknown): string => (typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value));

/** The name that is nearest by letters in common order, if it is near enough for a slip of the pen. */
function closest(word: string, names: readonly string[]): string | undefined {
  const scored = names.map((name) => ({ name, distance: editDistance(word.toLowerCase().slice(0, 64), name.toLowerCase()) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(1, Math.floor(word.length / 3)) ? best.name : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), row[j]! + 1, next[j - 1]! + 1));
    row = next;
  }
  return row[b.length]!;
}
