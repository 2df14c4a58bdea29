import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Environment, readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';
import { JetlaneError, toMs } from '@jetlane/protocol';
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

const duration = z.string().transform((text, context): number => {
  try {
    return toMs(/^\d+$/.test(text) ? Number(text) : text);
  } catch {
    context.addIssue({ code: 'custom', message: 'expected milliseconds or a number with ms, s, m, h or d, as in "10s"' });
    return z.NEVER;
  }
});

const schema = z
  .object({
    JETLANE_QUEUES_FILE: z.string().optional(),
    SLA_WARNING_THRESHOLD: duration.prefault('10000'),
    SLA_CRITICAL_THRESHOLD: duration.prefault('30000'),
  })
  .refine((given) => given.SLA_WARNING_THRESHOLD <= given.SLA_CRITICAL_THRESHOLD, {
    path: ['SLA_WARNING_THRESHOLD'],
    message: 'expected to be at most SLA_CRITICAL_THRESHOLD',
  });

/** Settings of the queue manager from the environment. @throws JetlaneError `invalid-configuration` */
export function queueManagerConfig(env: Environment = process.env): QueueManagerConfig {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(given);
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => ({ variable: path.join('.'), message }));
    const text = issues.map(({ variable, message }) => `${variable}: ${message}`).join('; ');
    throw new JetlaneError('invalid-configuration', `the environment is not valid: ${text}`, { details: { issues } });
  }
  const { data } = parsed;
  const config = readServiceConfig('queue-manager', 3001, 'QUEUE_MANAGER_PORT', env);
  const search = searchConfig(env, config);
  return {
    ...config,
    ...(search ? { search } : {}),
    queuesFile: data.JETLANE_QUEUES_FILE,
    sla: { warningMs: data.SLA_WARNING_THRESHOLD, criticalMs: data.SLA_CRITICAL_THRESHOLD },
  };
}

function searchConfig(env: Environment, { port, nats }: ServiceConfig): SearchConfig | undefined {
  const { JETLANE_SEARCH, JETLANE_SEARCH_DIR, JETLANE_DATA_DIR } = env;
  if (JETLANE_SEARCH === 'off') return undefined;
  if (JETLANE_SEARCH && JETLANE_SEARCH !== 'on') {
    const message = 'expected on or off';
    throw new JetlaneError(
      'invalid-configuration',
      `the environment is not valid: JETLANE_SEARCH=${JSON.stringify(JETLANE_SEARCH)}: ${message}`,
      {
        details: { issues: [{ variable: 'JETLANE_SEARCH', message }] },
      },
    );
  }
  const own = process.getuid ? `jetlane-search-${process.getuid()}` : 'jetlane-search';
  const folder = JETLANE_SEARCH_DIR || (JETLANE_DATA_DIR ? join(JETLANE_DATA_DIR, 'search') : join(tmpdir(), own));
  // Two queue-managers on one machine have two ports; a file of its own costs each what the records cost once.
  const who = port === 0 ? `pid-${process.pid}` : String(port);
  return { file: join(folder, `${nats.namespace || 'default'}-${who}.db`), temporary: port === 0 };
}
