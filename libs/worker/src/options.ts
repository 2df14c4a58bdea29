import {
  type CompiledRetryPolicy,
  compileRetryPolicy,
  configurationError,
  DEFAULT_WEIGHTS,
  JetlaneError,
  LANE_DEFAULTS,
  LANES,
  type LaneMode,
  type Limits,
  perMs,
  type QueueDefinition,
  type Rate,
  rateSchema,
  slotsOf,
  toMs,
} from '@jetlane/protocol';
import { type CompiledHandler, compileHandlers, defaultSlots, type HandlerEntry } from './handler-options.js';

/** Options of a worker. */
export interface WorkerOptions {
  /** Name of the queue. */
  readonly queue: string;
  /** Handlers by task type. */
  readonly handlers: Readonly<Record<string, HandlerEntry>>;
  /**
   * Tasks that may run at once; a batch of n counts as n. Default: `workers` × `concurrency` of the queue's definition, else 10, or the size
   * of the largest batch if that is more.
   */
  readonly concurrency?: number;
  /** Handlers that may start here, spread evenly. Default: no limit but the queue's. */
  readonly rate?: Rate;
  /** What holds where the queue's definition says nothing. Rates are kept by all workers of a queue together: give them all the same. */
  readonly defaults?: WorkerDefaults;
  /** What no definition takes this worker beyond, such as in a process that is told to be careful. Default: nothing. */
  readonly ceiling?: WorkerDefaults;
  /** How lanes share the slots. Default: the definition's, else `weighted`. */
  readonly mode?: LaneMode;
  /** Definition used when the queue is not defined yet. Default: only the name. */
  readonly definition?: Omit<QueueDefinition, 'name'>;
  /** Finished tasks whose record is not confirmed yet; beyond it no handler starts. Default 512. */
  readonly settleWindow?: number;
  /** Name in heartbeats and records. Default `<host>-<pid>-<random>`. */
  readonly name?: string;
  /** Reported in heartbeats. Default `0.0.0`. */
  readonly version?: string;
  /** Told about what the worker survives: lost leases, failing publishes, throwing listeners. Default: silent. */
  readonly log?: WorkerLog;
}

/** Values of a process for what definitions say of all queues. */
export interface WorkerDefaults {
  /** Handlers at once for each of the definition's `workers`. */
  readonly concurrency?: number;
  /** Handlers of the queue that may start, over all workers. */
  readonly rate?: Rate;
}

/** What a worker may be told while it runs. */
export interface WorkerLimits {
  /** Handlers that may run at once. */
  readonly concurrency?: number;
  /** Handlers that may start here. `undefined` lifts the limit. */
  readonly rate?: Rate | undefined;
}

/** Where a worker writes what happened; pino fits. */
export interface WorkerLog {
  /** What happens in good order. */
  info(fields: object, event: string): void;
  /** What the worker survives. */
  warn(fields: object, event: string): void;
  /** What somebody should look at. @param event `noun:verb`; ids are in the fields */
  error(fields: object, event: string): void;
}

/** Options with defaults, durations in ms. */
export interface CompiledOptions {
  readonly queue: string;
  readonly defaults: WorkerDefaults;
  readonly ceiling: WorkerDefaults;
  readonly handlers: ReadonlyMap<string, CompiledHandler>;
  readonly defaultType: string | undefined;
  /** The queue's own policy, for tasks without a handler. */
  readonly retry: CompiledRetryPolicy;
  readonly slots: number;
  /** Slots when neither the options nor the definition says. */
  readonly defaultSlots: number;
  readonly mode: LaneMode;
  readonly weights: readonly number[];
  readonly settleWindow: number;
  readonly leaseMs: number;
  readonly maxDeliveries: number;
  readonly keepRecordsMs: number;
  /** The same for dead and cancelled tasks. */
  readonly keepFailuresMs: number;
  /** Most records of the queue. */
  readonly maxRecords: number | undefined;
  /** Which outcomes leave a record. */
  readonly keep: 'all' | 'failures' | 'none';
  /** Records keep the payload. */
  readonly keepPayload: boolean;
  readonly name: string;
  readonly version: string;
  readonly log: WorkerLog;
}

const silent: WorkerLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * Fills in defaults from the queue's definition.
 * @throws JetlaneError `invalid-configuration`
 */
export function compileOptions(options: WorkerOptions, definition: QueueDefinition, name: string): CompiledOptions {
  const slots = slotsFor(definition, options, defaultSlots(options.handlers));
  checkLimits(options.queue, { concurrency: slots, rate: options.rate });
  const settleWindow = options.settleWindow ?? 512;
  if (!Number.isInteger(settleWindow) || settleWindow < 1) {
    throw new JetlaneError(
      'invalid-configuration',
      `expected settleWindow of queue "${options.queue}" to be a whole number from 1, got ${settleWindow}`,
      { details: { field: 'settleWindow' } },
    );
  }
  // It becomes a token of subjects.
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(name)) {
    throw new JetlaneError(
      'invalid-configuration',
      `expected the worker's name to be of letters, digits, _ and -, got ${JSON.stringify(name)}`,
      { details: { field: 'name' } },
    );
  }
  const keepRecordsMs = definition.keepRecords === undefined ? LANE_DEFAULTS.keepRecordsMs : toMs(definition.keepRecords, 'keepRecords');
  return {
    queue: options.queue,
    defaults: options.defaults ?? {},
    ceiling: options.ceiling ?? {},
    handlers: compileHandlers(options.handlers, definition, slots),
    defaultType: definition.defaultType,
    retry: compileRetryPolicy(definition.retry),
    slots,
    defaultSlots: defaultSlots(options.handlers),
    mode: options.mode ?? definition.mode ?? 'weighted',
    weights: LANES.map((lane) => definition.weights?.[lane] ?? DEFAULT_WEIGHTS[lane]),
    settleWindow,
    leaseMs: definition.lease === undefined ? LANE_DEFAULTS.leaseMs : toMs(definition.lease, 'lease'),
    maxDeliveries: definition.maxDeliveries ?? LANE_DEFAULTS.maxDeliveries,
    keepRecordsMs,
    keepFailuresMs: definition.keepFailures === undefined ? keepRecordsMs : toMs(definition.keepFailures, 'keepFailures'),
    maxRecords: definition.maxRecords,
    keep: definition.keep ?? 'all',
    keepPayload: definition.keepPayload ?? false,
    name,
    version: options.version ?? '0.0.0',
    log: options.log ?? silent,
  };
}

/** Handlers that may run at once: as the worker is told, else as the definition says, under the ceiling. */
export function slotsFor(
  definition: QueueDefinition,
  { concurrency, defaults, ceiling }: Pick<WorkerOptions, 'concurrency' | 'defaults' | 'ceiling'>,
  otherwise: number,
): number {
  const most = ceiling?.concurrency ?? Number.POSITIVE_INFINITY;
  if (concurrency !== undefined) return Math.min(concurrency, most);
  return slotsOf(definition, defaults?.concurrency, most) ?? Math.min(otherwise, most);
}

/** The limits of a queue with what the process adds. */
export function limitsFor({ limits }: QueueDefinition, defaults: WorkerDefaults, ceiling: WorkerDefaults): Limits | undefined {
  const rate = limits?.rate ?? defaults.rate;
  const lower = ceiling.rate && (rate === undefined || perMs(rate) > perMs(ceiling.rate)) ? ceiling.rate : rate;
  return lower === undefined ? limits : { ...limits, rate: lower };
}

/** Checks the limits of a worker. @throws JetlaneError `invalid-configuration` */
export function checkLimits(queue: string, { concurrency, rate }: WorkerLimits): void {
  if (concurrency !== undefined && (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000)) {
    throw new JetlaneError(
      'invalid-configuration',
      `expected concurrency of queue "${queue}" to be a whole number from 1 to 10000, got ${concurrency}`,
      { details: { field: 'concurrency' } },
    );
  }
  const parsed = rateSchema.optional().safeParse(rate);
  if (!parsed.success) throw configurationError(`rate of a worker of queue "${queue}"`, parsed.error);
}
