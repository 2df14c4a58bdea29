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
  return {
    ...readServiceConfig('queue-manager', 3001, 'QUEUE_MANAGER_PORT', env),
    queuesFile: data.JETLANE_QUEUES_FILE,
    sla: { warningMs: data.SLA_WARNING_THRESHOLD, criticalMs: data.SLA_CRITICAL_THRESHOLD },
  };
}
