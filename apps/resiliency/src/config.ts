import type { DeadLetterBounds } from '@jetlane/jetstream';
import { durationVariable, type Environment, readEnvironment, readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';
import { z } from 'zod';

/** Settings of the resiliency service. */
export interface ResiliencyConfig extends ServiceConfig {
  /** `DEAD_LETTERS_MAX_AGE`, `DEAD_LETTERS_MAX_BYTES`: how much the stream of dead letters may hold. Default 90 days and 2 GiB. */
  readonly bounds: DeadLetterBounds;
}

const GIB = 1024 ** 3;
/** A bound below a minute would remove what nobody can have seen. */
const SHORTEST_AGE_MS = 60_000;

const age = durationVariable.refine(
  (ms) => ms === 0 || ms >= SHORTEST_AGE_MS,
  'expected a duration of at least one minute, as in "90d", or 0 for no bound',
);

const schema = z.object({
  DEAD_LETTERS_MAX_AGE: age.prefault('90d'),
  DEAD_LETTERS_MAX_BYTES: z.coerce
    .number({ error: 'expected a whole number of bytes, or 0 for no bound' })
    .int('expected a whole number of bytes, or 0 for no bound')
    .min(0)
    .max(2 ** 50)
    .default(2 * GIB),
});

/** Settings of the resiliency service from the environment. An empty variable counts as unset. @throws JetlaneError `invalid-configuration` */
export function resiliencyConfig(env: Environment = process.env): ResiliencyConfig {
  const { DEAD_LETTERS_MAX_AGE: maxAgeMs, DEAD_LETTERS_MAX_BYTES: maxBytes } = readEnvironment(schema, env);
  return { ...readServiceConfig('resiliency', 3003, 'RESILIENCY_PORT', env), bounds: { maxAgeMs, maxBytes } };
}
