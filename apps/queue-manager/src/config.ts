import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { durationVariable, type Environment, readEnvironment, readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';
import { z } from 'zod';

/** How long a task may wait, in ms. */
export interface Sla {
  readonly warningMs: number;
  readonly criticalMs: number;
}

/** Settings of the queue manager, beside those that all services share. */
export interface QueueManagerConfig extends ServiceConfig {
  /** `JETLANE_QUEUES_FILE`: file of queue definitions; undefined: `jetlane.queues.yaml` in the working directory, if it is there. */
  readonly queuesFile: string | undefined;
  /** `SLA_WARNING_THRESHOLD`, `SLA_CRITICAL_THRESHOLD`: for queues whose definition does not say. Default 10 s and 30 s. */
  readonly sla: Sla;
  /** The projection of finished tasks; undefined: none is kept. */
  readonly search?: SearchConfig;
}

/** Where the projection of finished tasks is kept. */
export interface SearchConfig {
  readonly file: string;
  /** The file is of this process alone, and deleted when it stops. */
  readonly temporary: boolean;
}

const schema = z
  .object({
    JETLANE_QUEUES_FILE: z.string().optional(),
    JETLANE_SEARCH: z.enum(['on', 'off'], 'expected on or off').default('on'),
    JETLANE_SEARCH_DIR: z.string().optional(),
    JETLANE_DATA_DIR: z.string().optional(),
    SLA_WARNING_THRESHOLD: durationVariable.prefault('10000'),
    SLA_CRITICAL_THRESHOLD: durationVariable.prefault('30000'),
  })
  .refine((given) => given.SLA_WARNING_THRESHOLD <= given.SLA_CRITICAL_THRESHOLD, {
    path: ['SLA_WARNING_THRESHOLD'],
    message: 'expected to be at most SLA_CRITICAL_THRESHOLD',
  });

/** Settings of the queue manager from the environment. @throws JetlaneError `invalid-configuration` */
export function queueManagerConfig(env: Environment = process.env): QueueManagerConfig {
  const data = readEnvironment(schema, env);
  const config = readServiceConfig('queue-manager', 3001, 'QUEUE_MANAGER_PORT', env);
  const search = searchConfig(data, config);
  return {
    ...config,
    ...(search ? { search } : {}),
    queuesFile: data.JETLANE_QUEUES_FILE,
    sla: { warningMs: data.SLA_WARNING_THRESHOLD, criticalMs: data.SLA_CRITICAL_THRESHOLD },
  };
}

function searchConfig(given: z.output<typeof schema>, { port, nats }: ServiceConfig): SearchConfig | undefined {
  const { JETLANE_SEARCH, JETLANE_SEARCH_DIR, JETLANE_DATA_DIR } = given;
  if (JETLANE_SEARCH === 'off') return undefined;
  const own = process.getuid ? `jetlane-search-${process.getuid()}` : 'jetlane-search';
  const folder = JETLANE_SEARCH_DIR || (JETLANE_DATA_DIR ? join(JETLANE_DATA_DIR, 'search') : join(tmpdir(), own));
  // Two queue-managers on one machine have two ports; a file of its own costs each what the records cost once.
  const who = port === 0 ? `pid-${process.pid}` : String(port);
  return { file: join(folder, `${nats.namespace || 'default'}-${who}.db`), temporary: port === 0 };
}
