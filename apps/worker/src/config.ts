import { durationVariable, type Environment, readEnvironment, readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';
import { isQueueName, type Rate, rateSchema } from '@jetlane/protocol';
import type { WorkerDefaults } from '@jetlane/worker';
import { z } from 'zod';

/** Settings of the worker host, beside those that all services share. */
export interface WorkerHostConfig extends ServiceConfig {
  /** `DATABASE_URL`: where accounts and the inbox are. */
  readonly databaseUrl: string;
  /** `DATABASE_MAX_CONNECTIONS`: size of the pool. Default: one per slot, at most 20. */
  readonly databaseMaxConnections: number;
  /** `WORKER_QUEUES`: comma separated. Default `default,high_priority,low_priority`. */
  readonly queues: readonly string[];
  /** `WORKER_CONCURRENCY`: handlers at once for each of a queue's `workers`, where its definition does not say. Default 10. */
  readonly concurrency: number;
  /** `QUEUE_RATE_LIMIT`: handlers that may start, of each queue whose definition gives no rate. Default: no limit. */
  readonly rate?: Rate;
  /** `QUEUE_OPTIMIZATION_ENABLED=false`: what no definition and no other variable goes beyond. */
  readonly ceiling?: WorkerDefaults;
  /** `WORKER_SHUTDOWN_TIMEOUT`: how long running handlers may take after SIGTERM. Default 10 s, at most 20 s: the
   * service as a whole gets 25. */
  readonly shutdownTimeoutMs: number;
  /** `WORKER_STUCK_EXIT`: how long a lane may get no tasks though there are some, and new pulls did not help; then the process
   * drains and ends with code 1. Default 60 s; 0: never. */
  readonly stuckExitMs: number;
  /** `INBOX_RETENTION`: age at which inbox rows are purged. Default 7 days. */
  readonly inboxRetentionMs: number;
}

const POOL_LIMIT = 20;
const LONGEST_SHUTDOWN_MS = 20_000;

const count = (max: number) => z.coerce.number({ error: 'expected a whole number' }).int().min(1).max(max);

const queues = z
  .string()
  .transform((text) => [...new Set(text.split(',').map((name) => name.trim()))])
  .refine((names) => names.every(isQueueName), 'expected queue names (a-z, 0-9, _ and -), separated by commas');

/** What `QUEUE_OPTIMIZATION_ENABLED=false` goes back to, and what `true` stands for where nothing else is said. */
const CONSERVATIVE = { concurrency: 3, rate: { count: 10 } } as const;
const OPTIMIZED_RATE: Rate = { count: 30 };

/** `30`, `30/s`, `100/m`, `5/10s` */
const rate = z.string().transform((text, context): Rate => {
  const [, count, span] = /^(\d{1,7})(?:\/(\d*(?:ms|s|m|h)))?$/.exec(text.trim()) ?? [];
  const parsed = rateSchema.safeParse({ count: Number(count), per: span === undefined ? '1s' : /^\d/.test(span) ? span : `1${span}` });
  if (parsed.success) return parsed.data;
  context.addIssue({ code: 'custom', message: 'expected a rate such as 30/s, 100/m or 5/10s' });
  return z.NEVER;
});

const schema = z.object({
  DATABASE_URL: z
    .string({ error: 'is not set; it names the PostgreSQL database, as in postgres://user:password@127.0.0.1:5432/jetlane' })
    .refine(
      (text) => /^postgres(ql)?:\/\//.test(text) && URL.canParse(text),
      'expected a URL like postgres://user:password@127.0.0.1:5432/jetlane',
    ),
  DATABASE_MAX_CONNECTIONS: count(1000).optional(),
  WORKER_QUEUES: queues.prefault('default,high_priority,low_priority'),
  WORKER_CONCURRENCY: count(10_000).default(10),
  QUEUE_RATE_LIMIT: rate.optional(),
  QUEUE_OPTIMIZATION_ENABLED: z.stringbool({ error: 'expected true or false' }).optional(),
  WORKER_SHUTDOWN_TIMEOUT: durationVariable.refine((ms) => ms <= LONGEST_SHUTDOWN_MS, 'expected at most 20s').prefault('10s'),
  WORKER_STUCK_EXIT: durationVariable.prefault('60s'),
  INBOX_RETENTION: durationVariable.prefault('7d'),
});

/**
 * Reads the environment. An empty variable counts as one that is not set.
 * @throws JetlaneError `invalid-configuration` that names every variable which is wrong; values are not repeated, since
 * a database URL holds a password
 */
export function readWorkerConfig(env: Environment = process.env): WorkerHostConfig {
  const data = readEnvironment(schema, env);
  const fallback = data.QUEUE_RATE_LIMIT ?? (data.QUEUE_OPTIMIZATION_ENABLED ? OPTIMIZED_RATE : undefined);
  return {
    ...readServiceConfig('worker', 3005, 'WORKER_PORT', env),
    databaseUrl: data.DATABASE_URL,
    databaseMaxConnections: data.DATABASE_MAX_CONNECTIONS ?? Math.min(POOL_LIMIT, data.WORKER_CONCURRENCY * data.WORKER_QUEUES.length),
    queues: data.WORKER_QUEUES,
    concurrency: data.WORKER_CONCURRENCY,
    ...(fallback ? { rate: fallback } : {}),
    ...(data.QUEUE_OPTIMIZATION_ENABLED === false ? { ceiling: CONSERVATIVE } : {}),
    shutdownTimeoutMs: data.WORKER_SHUTDOWN_TIMEOUT,
    stuckExitMs: data.WORKER_STUCK_EXIT,
    inboxRetentionMs: data.INBOX_RETENTION,
  };
}

/** What the environment says to the workers of a host. */
export function workerRules({ concurrency, rate, ceiling }: Pick<WorkerHostConfig, 'concurrency' | 'rate' | 'ceiling'>) {
  return { defaults: { concurrency, ...(rate ? { rate } : {}) }, ...(ceiling ? { ceiling } : {}) };
}
