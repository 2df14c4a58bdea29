/** One measurement of a round: which side, in which variant. The runs of a round follow each other, and the rounds alternate them. */
export interface Run {
  key: string;
  side: string;
  variant?: string;
  /** Share of the suite's count that this run handles (default 1): the slower peers get fewer tasks, for about the same time. */
  share?: number;
}

/** The name that a baseline has in tables and JSON. */
export type Baseline =
  | 'wire'
  | 'lanes'
  | 'idle'
  | 'process'
  | 'bullmq'
  | 'fastify'
  | 'enqueueMany'
  | 'async 3.2.6 cargoQueue'
  | 'dataloader 2.2.3';

/** One figure of one run, beside the same figure of other runs. */
export interface Row {
  metric: string;
  run: string;
  field: string;
  unit: string;
  /** Baselines and the run that each one is. A baseline's own row has none. */
  against?: Partial<Record<Baseline, string>>;
  /** The figure of the baseline, where it has another name there. */
  baselineField?: string;
}

export interface Suite {
  runs: Run[];
  rows: Row[];
  /** Tasks per round, full and quick. */
  count: [full: number, quick: number];
  /** Whether a side first handles a tenth of the count unmeasured. HTTP and status warm up by themselves. */
  warmup: boolean;
  needsRedis: boolean;
}

const RATE = { field: 'rate', unit: 'tasks/s' };

/** CPU rows of one run: of the broker (nats-server, or redis-server) and of the measured process, in milliseconds for 1000 tasks. */
function cpu(metric: string, run: string, against: Row['against']): Row[] {
  const unit = 'ms/1000 tasks';
  return [
    { metric: `${metric}: broker CPU`, run, field: 'serverCpu', unit, ...(against && { against }) },
    { metric: `${metric}: own CPU`, run, field: 'clientCpu', unit, ...(against && { against }) },
  ];
}

const enqueue: Suite = {
  count: [150_000, 30_000],
  warmup: true,
  needsRedis: true,
  runs: [
    { key: 'many', side: 'product/enqueue', variant: 'many' },
    { key: 'wire', side: 'wire/enqueue' },
    { key: 'single', side: 'product/enqueue', variant: 'single' },
    { key: 'bullmq', side: 'bullmq/enqueue', variant: '1', share: 0.25 },
    { key: 'bullmq-4', side: 'bullmq/enqueue', variant: '4', share: 0.25 },
  ],
  rows: [
    { metric: 'enqueueMany', run: 'many', ...RATE, against: { wire: 'wire', bullmq: 'bullmq' } },
    { metric: 'enqueue', run: 'single', ...RATE, against: { wire: 'wire', bullmq: 'bullmq' } },
    ...cpu('enqueueMany', 'many', { wire: 'wire', bullmq: 'bullmq' }),
    { metric: 'wire loop', run: 'wire', ...RATE },
    ...cpu('wire loop', 'wire', undefined),
    { metric: 'bullmq addBulk(1000)', run: 'bullmq', ...RATE },
    ...cpu('bullmq addBulk(1000)', 'bullmq', undefined),
    { metric: 'bullmq addBulk(1000), 4 in flight', run: 'bullmq-4', ...RATE },
  ],
};

const process: Suite = {
  count: [80_000, 20_000],
  warmup: true,
  needsRedis: true,
  runs: [
    { key: 'kept', side: 'product/process', variant: 'kept' },
    { key: 'wire', side: 'wire/process', variant: 'kept' },
    { key: 'bullmq', side: 'bullmq/process', variant: 'kept-100', share: 0.25 },
    { key: 'batch', side: 'product/process', variant: 'batch' },
    { key: 'none', side: 'product/process', variant: 'none' },
    { key: 'wire-none', side: 'wire/process', variant: 'none' },
    { key: 'bullmq-none', side: 'bullmq/process', variant: 'none-100', share: 0.25 },
  ],
  rows: [
    { metric: 'process', run: 'kept', ...RATE, against: { wire: 'wire', bullmq: 'bullmq' } },
    { metric: 'process, batches of 100', run: 'batch', ...RATE, against: { wire: 'wire' } },
    { metric: 'process, none kept', run: 'none', ...RATE, against: { wire: 'wire-none', bullmq: 'bullmq-none' } },
    ...cpu('process', 'kept', { wire: 'wire', bullmq: 'bullmq' }),
    ...cpu('process, batches of 100', 'batch', { wire: 'wire' }),
    { metric: 'wire loop', run: 'wire', ...RATE },
    { metric: 'wire loop, none kept', run: 'wire-none', ...RATE },
    ...cpu('wire loop', 'wire', undefined),
    { metric: 'bullmq worker', run: 'bullmq', ...RATE },
    { metric: 'bullmq worker, none kept', run: 'bullmq-none', ...RATE },
    ...cpu('bullmq worker', 'bullmq', undefined),
  ],
};

const nestProcess: Suite = {
  count: [80_000, 20_000],
  warmup: true,
  needsRedis: false,
  runs: [
    { key: 'nest', side: 'product/nest-process', variant: 'bare' },
    { key: 'process', side: 'product/process', variant: 'kept' },
    { key: 'plain', side: 'product/nest-process', variant: 'no-async-context' },
    { key: 'guarded', side: 'product/nest-process', variant: 'guarded' },
    { key: 'batch', side: 'product/nest-process', variant: 'batch' },
    { key: 'process-batch', side: 'product/process', variant: 'batch' },
    { key: 'call', side: 'product/nest-call' },
  ],
  rows: [
    { metric: 'nest-process', run: 'nest', ...RATE, against: { process: 'process' } },
    { metric: 'nest-process without asyncContext', run: 'plain', ...RATE, against: { process: 'process' } },
    { metric: 'nest-process with guard and interceptor', run: 'guarded', ...RATE, against: { process: 'process' } },
    { metric: 'nest-process, batches of 100', run: 'batch', ...RATE, against: { process: 'process-batch' } },
    ...cpu('nest-process', 'nest', { process: 'process' }),
    { metric: 'process', run: 'process', ...RATE },
    { metric: 'process, batches of 100', run: 'process-batch', ...RATE },
    { metric: 'bare handler over a direct call', run: 'call', field: 'bare', unit: 'us' },
    { metric: 'without asyncContext', run: 'call', field: 'plain', unit: 'us' },
    { metric: 'parameter decorators', run: 'call', field: 'params', unit: 'us' },
    { metric: 'guard and interceptor', run: 'call', field: 'guarded', unit: 'us' },
    { metric: 'guard, interceptor and parameter decorators', run: 'call', field: 'guardedParams', unit: 'us' },
    { metric: "NestJS's own pipeline for guard and interceptor", run: 'call', field: 'pipeline', unit: 'us' },
  ],
};

const REQUESTS = { field: 'rate', unit: 'requests/s' };

/** Rate, percentiles and CPU of a server under load. */
function loaded(metric: string, run: string, against?: Row['against']): Row[] {
  const beside = against && { against };
  return [
    { metric, run, ...REQUESTS, ...beside },
    { metric: `${metric} p50`, run, field: 'p50', unit: 'ms', ...beside },
    { metric: `${metric} p99`, run, field: 'p99', unit: 'ms', ...beside },
    ...cpu(metric, run, against),
  ];
}

const http: Suite = {
  // Tasks of the batch; connections are a hundredth of it.
  count: [1_000_000, 50_000],
  warmup: false,
  needsRedis: false,
  runs: [
    { key: 'gateway', side: 'product/http' },
    { key: 'fastify', side: 'fastify/http' },
    { key: 'untraced', side: 'product/http', variant: 'untraced' },
    { key: 'off', side: 'product/http', variant: 'off' },
    { key: 'fresh', side: 'product/http', variant: 'fresh' },
    { key: 'fastify-fresh', side: 'fastify/http', variant: 'fresh' },
    { key: 'batch', side: 'product/http-batch' },
    { key: 'many', side: 'product/enqueue', variant: 'many' },
    { key: 'door', side: 'product/http-door' },
    { key: 'connections', side: 'product/http-connections', share: 0.01 },
  ],
  rows: [
    ...loaded('gateway enqueue', 'gateway', { fastify: 'fastify' }),
    ...loaded('gateway enqueue, no collector', 'untraced', { fastify: 'fastify' }),
    ...loaded('gateway enqueue, all off', 'off', { fastify: 'fastify' }),
    ...loaded('fastify route', 'fastify'),
    ...loaded('gateway, new connections', 'fresh', { fastify: 'fastify-fresh' }),
    ...loaded('fastify, new connections', 'fastify-fresh'),
    { metric: 'NDJSON batch', run: 'batch', ...RATE, against: { enqueueMany: 'many' } },
    { metric: 'NDJSON batch: growth of RSS', run: 'batch', field: 'growth', unit: 'MB' },
    { metric: 'enqueueMany', run: 'many', ...RATE },
    { metric: 'key, scope and rate limit: CPU of one check', run: 'door', field: 'full', unit: 'us' },
    { metric: 'key and scope: CPU of one check', run: 'door', field: 'unlimited', unit: 'us' },
    { metric: 'held connections: RSS of the gateway', run: 'connections', field: 'resident', unit: 'MB' },
    { metric: 'held connections: each', run: 'connections', field: 'each', unit: 'KB' },
  ],
};

const STATES = ['queued', 'completed', 'scheduled', 'dead'];

const status: Suite = {
  count: [4000, 1000],
  warmup: true,
  needsRedis: false,
  runs: [
    { key: 'status', side: 'product/status' },
    { key: 'get', side: 'wire/get' },
  ],
  rows: [
    ...STATES.flatMap((state) =>
      ['p50', 'p99'].map((field) => {
        const metric = `${state} ${field}`;
        return { metric, run: 'status', field: metric, unit: 'ms', against: { wire: 'get' }, baselineField: field };
      }),
    ),
    { metric: 'one direct get p50', run: 'get', field: 'p50', unit: 'ms' },
    { metric: 'one direct get p99', run: 'get', field: 'p99', unit: 'ms' },
  ],
};

const PICKUP: Record<string, string> = {
  idle: 'idle',
  reserved: 'flood, weighted, 2 reserved slots',
  weighted: 'flood, weighted',
  strict: 'flood, strict',
};

const priority: Suite = {
  count: [0, 0],
  warmup: false,
  needsRedis: false,
  runs: [
    ...Object.keys(PICKUP).map((variant) => ({ key: variant, side: 'product/priority', variant })),
    { key: 'wire-idle', side: 'wire/priority', variant: 'idle' },
    { key: 'wire', side: 'wire/priority', variant: 'flood' },
  ],
  rows: [
    ...Object.entries(PICKUP).flatMap(([run, what]) =>
      ['p50', 'p99'].map((field) => ({
        metric: `high pickup, ${what}: ${field}`,
        run,
        field,
        unit: 'ms',
        against: run === 'idle' ? { wire: 'wire-idle' } : { idle: 'idle', wire: 'wire' },
      })),
    ),
    ...['p50', 'p99'].map((field) => ({ metric: `wire loop, idle: ${field}`, run: 'wire-idle', field, unit: 'ms' })),
    ...['p50', 'p99'].map((field) => ({
      metric: `wire loop, flood: ${field}`,
      run: 'wire',
      field,
      unit: 'ms',
      against: { idle: 'wire-idle' as const },
    })),
    { metric: 'low tasks done, 2 reserved slots', run: 'reserved', field: 'low', unit: 'tasks/s', against: { wire: 'wire' } },
    { metric: 'low tasks that arrive', run: 'reserved', field: 'arrived', unit: 'tasks/s' },
  ],
};

const tracing: Suite = {
  count: [0, 0],
  warmup: false,
  needsRedis: false,
  runs: [{ key: 'tracing', side: 'product/tracing' }],
  rows: [
    { metric: 'a task without an SDK', run: 'tracing', field: 'none', unit: 'us' },
    { metric: 'with an SDK, sampler off', run: 'tracing', field: 'off', unit: 'us' },
    { metric: 'with an SDK, every task sampled', run: 'tracing', field: 'on', unit: 'us' },
    { metric: 'the span of a request to the gateway', run: 'tracing', field: 'http', unit: 'us' },
  ],
};

const ITEMS = { field: 'rate', unit: 'items/s' };
const ITEMS_CPU = { field: 'clientCpu', unit: 'ms/1000 items' };

const batching: Suite = {
  count: [10_000_000, 1_000_000],
  warmup: true,
  needsRedis: false,
  runs: [
    { key: 'many', side: 'product/batching', variant: 'many', share: 0.4 },
    { key: 'async-many', side: 'batching/async', variant: 'many', share: 0.2 },
    { key: 'single', side: 'product/batching', variant: 'single', share: 0.2 },
    { key: 'async-single', side: 'batching/async', variant: 'single', share: 0.2 },
    { key: 'results', side: 'product/batching', variant: 'results', share: 0.1 },
    { key: 'dataloader', side: 'batching/dataloader', share: 0.1 },
    { key: 'iterable', side: 'product/batching', variant: 'iterable' },
  ],
  rows: [
    { metric: 'enqueueMany', run: 'many', ...ITEMS, against: { 'async 3.2.6 cargoQueue': 'async-many' } },
    { metric: 'enqueue', run: 'single', ...ITEMS, against: { 'async 3.2.6 cargoQueue': 'async-single' } },
    { metric: 'enqueue, every result awaited', run: 'results', ...ITEMS, against: { 'dataloader 2.2.3': 'dataloader' } },
    { metric: 'enqueueMany: CPU', run: 'many', ...ITEMS_CPU, against: { 'async 3.2.6 cargoQueue': 'async-many' } },
    { metric: 'enqueue: CPU', run: 'single', ...ITEMS_CPU, against: { 'async 3.2.6 cargoQueue': 'async-single' } },
    { metric: 'every result awaited: CPU', run: 'results', ...ITEMS_CPU, against: { 'dataloader 2.2.3': 'dataloader' } },
    { metric: 'processAll of an async iterable', run: 'iterable', ...ITEMS },
    { metric: 'processAll: growth of RSS', run: 'iterable', field: 'growth', unit: 'MB' },
    { metric: 'cargoQueue push of arrays', run: 'async-many', ...ITEMS },
    { metric: 'cargoQueue push', run: 'async-single', ...ITEMS },
    { metric: 'dataloader load', run: 'dataloader', ...ITEMS },
  ],
};

const FIRST_PAGE = { run: 'search', unit: 'ms' };

const search: Suite = {
  count: [1_000_000, 100_000],
  warmup: false,
  needsRedis: false,
  runs: [{ key: 'search', side: 'product/search' }],
  rows: [
    { metric: 'projection: finished tasks taken in', run: 'search', ...RATE },
    { metric: 'projection: CPU of the queue-manager', run: 'search', field: 'clientCpu', unit: 'ms/1000 tasks' },
    { metric: 'projection: file', run: 'search', field: 'megabytes', unit: 'MB' },
    { metric: 'projection: RSS of the queue-manager', run: 'search', field: 'rss', unit: 'MB' },
    { metric: 'first page, newest', field: 'newest', ...FIRST_PAGE },
    { metric: 'first page, type + error that many have', field: 'common', ...FIRST_PAGE },
    { metric: 'first page, type + error of the oldest', field: 'oldest', ...FIRST_PAGE },
    { metric: 'first page, type + error that none has', field: 'none', ...FIRST_PAGE },
    { metric: 'first page, error that none has', field: 'any type', ...FIRST_PAGE },
    { metric: 'first page, completed tasks of a type that none is', field: 'completed', ...FIRST_PAGE },
  ],
};

const topology: Suite = {
  // Queues that rest; a thousand times as many tasks are drained.
  count: [50, 4],
  warmup: false,
  needsRedis: false,
  runs: [
    { key: 'compact', side: 'product/topology', variant: 'compact' },
    { key: 'lanes', side: 'product/topology', variant: 'lanes' },
  ],
  rows: [
    { metric: 'compact: streams and buckets', run: 'compact', field: 'streams', unit: '', against: { lanes: 'lanes' } },
    { metric: 'compact: CPU of three servers at rest', run: 'compact', field: 'idleCpu', unit: 'ms/s', against: { lanes: 'lanes' } },
    { metric: 'compact: four lanes drained', run: 'compact', ...RATE, against: { lanes: 'lanes' } },
    ...cpu('compact: four lanes drained', 'compact', { lanes: 'lanes' }),
    { metric: 'lanes: streams and buckets', run: 'lanes', field: 'streams', unit: '' },
    { metric: 'lanes: CPU of three servers at rest', run: 'lanes', field: 'idleCpu', unit: 'ms/s' },
    { metric: 'lanes: four lanes drained', run: 'lanes', ...RATE },
  ],
};

/** The suites by the names that `--suite` takes, in the order in which they run. */
export const suites = {
  enqueue,
  process,
  'nest-process': nestProcess,
  priority,
  http,
  status,
  search,
  tracing,
  batching,
  topology,
} satisfies Record<string, Suite>;
export type SuiteName = keyof typeof suites;
