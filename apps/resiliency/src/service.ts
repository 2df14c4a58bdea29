import type { Component, ServiceContext, ServiceOptions } from '@jetlane/nestjs/service';
import { METRICS } from '@jetlane/telemetry';
import { DeadLetterCommands } from './commands.js';
import { type ResiliencyConfig, resiliencyConfig } from './config.js';
import { DeadLetters } from './dead-letters.js';
import { Facts } from './facts.js';
import { exposeGauges } from './gauges.js';
import { LetterWatch } from './letter-watch.js';
import { Queues } from './queues.js';
import { Resiliency } from './resiliency.js';

/** The resiliency service: makes dead letters, looks after them, and carries out commands about them. */
export function resiliencyService(
  config: ResiliencyConfig | (() => ResiliencyConfig) = () => resiliencyConfig(),
): ServiceOptions<ResiliencyConfig> {
  return { config, components };
}

function components({ config, connection, logger: log, meter, health }: ServiceContext<ResiliencyConfig>): Component[] {
  const { name, unit, description } = METRICS.deadLetters;
  const dead = meter.createCounter(name, { unit, description });
  const queues = new Queues(connection);
  const resiliency = new Resiliency(connection, { queues, log, onDead: (queue, reason) => dead.add(1, { queue, reason }) });
  health.add('resiliency', () => ({ ...resiliency.health() }));
  const watch = new LetterWatch(connection, { bounds: config.bounds, log });
  exposeGauges(meter, watch);
  const commands = new DeadLetterCommands(connection, new DeadLetters(connection, { queues, log }), new Facts(connection, log));
  return [component(queues), resiliency, component(watch), commands];
}

const component = (part: { start(): Promise<void>; stop(): void }): Component => ({
  start: () => part.start(),
  stop: async () => part.stop(),
});
