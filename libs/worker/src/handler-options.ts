import { type Duration, JetlaneError, type QueueDefinition, toMs } from '@jetlane/protocol';
import type { AnyBatchHandler, BatchOptions } from './batch-handler.js';
import { type CompiledHandlerRetry, compileHandlerRetry, type HandlerRetryPolicy } from './handler-retry.js';
import type { AnyTaskHandler } from './task-context.js';

/** Rules that both kinds of handler have. */
export interface HandlerRules {
  /** Overrides the queue's policy field by field. */
  readonly retry?: HandlerRetryPolicy;
  /** Longest run; then the signal fires and the attempt has failed with `timeout`. Default: no limit. */
  readonly timeout?: Duration;
}

/** A handler with its own rules. */
export interface HandlerOptions extends HandlerRules {
  readonly handle: AnyTaskHandler;
}

/** A handler of many tasks at once. A task type has one kind of handler. */
export interface BatchHandlerOptions extends HandlerRules, BatchOptions {
  readonly handleBatch: AnyBatchHandler;
}

/** What may handle a task type. */
export type HandlerEntry = AnyTaskHandler | HandlerOptions | BatchHandlerOptions;

interface CompiledRules {
  readonly retry: CompiledHandlerRetry;
  readonly timeoutMs: number | undefined;
}

/** A handler ready to run. */
export interface SingleHandler extends CompiledRules {
  readonly handle: AnyTaskHandler;
  readonly batch: undefined;
}

export interface BatchedHandler extends CompiledRules {
  readonly handle: AnyBatchHandler;
  readonly batch: BatchRule;
}

export type CompiledHandler = SingleHandler | BatchedHandler;

/** Batch options with defaults, durations in ms. */
export interface BatchRule {
  readonly size: number;
  readonly minSize: number;
  readonly maxWaitMs: number;
  /** When the first item has waited this long, the batch starts with what there is. */
  readonly longestWaitMs: number;
  /** Least time between two beginnings; 0: none. */
  readonly minGapMs: number;
  readonly accept: BatchOptions['accept'];
  readonly groupBy: BatchOptions['groupBy'];
}

const DEFAULT_SLOTS = 10;
const MOST_ITEMS = 10_000;
const DEFAULT_MAX_WAIT_MS = 100;
/** Longest `maxWait` and `minGap`. */
const LONGEST_WAIT_MS = 3_600_000;
/** How many times `maxWait` a batch below its `minSize` waits. */
const PATIENCE = 10;

/** Slots of a worker that was given none: enough for each of its batches. */
export function defaultSlots(entries: Readonly<Record<string, HandlerEntry>>): number {
  const sizes = Object.values(entries).map((entry) => ('size' in entry && isCount(entry.size, MOST_ITEMS) ? entry.size : 0));
  return Math.max(DEFAULT_SLOTS, ...sizes);
}

/**
 * @param slots handlers that may run at once; a batch of n takes n
 * @throws JetlaneError `invalid-configuration`, `duplicate-handler`
 */
export function compileHandlers(
  entries: Readonly<Record<string, HandlerEntry>>,
  definition: QueueDefinition,
  slots: number,
): Map<string, CompiledHandler> {
  return new Map(Object.entries(entries).map(([type, entry]) => [type, compileHandler(type, entry, definition, slots)]));
}

function compileHandler(type: string, entry: HandlerEntry, definition: QueueDefinition, slots: number): CompiledHandler {
  const options = typeof entry === 'function' ? { handle: entry } : entry;
  const { retry, timeout }: HandlerRules = options;
  const rules = {
    retry: compileHandlerRetry(type, definition.retry, retry),
    timeoutMs: timeout === undefined ? undefined : toMs(timeout, `timeout of handler "${type}"`),
  };
  const { handle, handleBatch } = options as Partial<HandlerOptions & BatchHandlerOptions>;
  if (handle !== undefined && handleBatch !== undefined) throw bothKinds(type);
  if (typeof handleBatch === 'function')
    return { handle: handleBatch, batch: compileBatch(type, options as BatchHandlerOptions, slots), ...rules };
  if (typeof handle === 'function') return { handle, batch: undefined, ...rules };
  throw wrong(type, 'handle', 'a function, or handleBatch to be one', handle ?? handleBatch);
}

function compileBatch(type: string, options: BatchHandlerOptions, slots: number): BatchRule {
  const { size, minSize = 1, maxWait = DEFAULT_MAX_WAIT_MS, minGap = 0, accept, groupBy } = options;
  if (!isCount(size, MOST_ITEMS)) throw wrong(type, 'size', `a whole number from 1 to ${MOST_ITEMS}`, size);
  if (!isCount(minSize, size)) throw wrong(type, 'minSize', `a whole number from 1 to size (${size})`, minSize);
  if (groupBy !== undefined && groupBy !== 'group' && typeof groupBy !== 'function')
    throw wrong(type, 'groupBy', '"group" or a function', groupBy);
  if (accept !== undefined && typeof accept !== 'function') throw wrong(type, 'accept', 'a function', accept);
  if (slots < size) throw tooFewSlots(type, size, slots);
  const maxWaitMs = waitOf(type, 'maxWait', maxWait);
  return { size, minSize, maxWaitMs, longestWaitMs: PATIENCE * maxWaitMs, minGapMs: minGapOf(type, minGap), accept, groupBy };
}

/** @throws JetlaneError `invalid-configuration` for a gap that is none, or longer than an hour */
export const minGapOf = (type: string, given: Duration): number => waitOf(type, 'minGap', given);

function waitOf(type: string, field: string, given: Duration): number {
  const ms = toMs(given, `${field} of handler "${type}"`);
  if (ms > LONGEST_WAIT_MS) throw wrong(type, field, 'at most 1h', given);
  return ms;
}

const isCount = (value: unknown, most: number): boolean => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most;

function wrong(type: string, field: string, expected: string, got: unknown): JetlaneError {
  const shown = typeof got === 'string' ? JSON.stringify(got) : String(got);
  return new JetlaneError('invalid-configuration', `expected ${field} of handler "${type}" to be ${expected}, got ${shown}`, {
    details: { field, type },
  });
}

function tooFewSlots(type: string, size: number, slots: number): JetlaneError {
  const message = `the batch handler of "${type}" has size ${size}, but the worker's concurrency is ${slots}: a batch takes a slot per task; raise concurrency to ${size} or lower size`;
  return new JetlaneError('invalid-configuration', message, { details: { field: 'concurrency', type, size, concurrency: slots } });
}

function bothKinds(type: string): JetlaneError {
  const message = `task type "${type}" has handle and handleBatch; a type has one handler, so drop one of them`;
  return new JetlaneError('duplicate-handler', message, { details: { type } });
}
