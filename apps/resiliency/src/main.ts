import { runService, serveCommand } from '@jetlane/nestjs/service';
import { METRICS } from '@jetlane/telemetry';
import { resiliencyConfig } from './config.js';
import { DeadLetters } from './dead-letters.js';
import { Resiliency } from './resiliency.js';

await runService({
  config: resiliencyConfig,
  components: ({ config, connection, logger, meter, health }) => {
    const { name, unit, description } = METRICS.deadLetters;
    const dead = meter.createCounter(name, { unit, description });
    const resiliency = new Resiliency(connection, { log: logger, onDead: (queue, reason) => dead.add(1, { queue, reason }) });
    health.add('resiliency', () => ({ ...resiliency.health() }));
    const letters = new DeadLetters(connection);
    const commands: (() => void)[] = [];
    return [
      resiliency,
      {
        start: async () => {
          for (const command of ['list', 'get', 'redrive'] as const)
            commands.push(serveCommand(connection, config.name, command, (input) => letters[command](input)));
        },
        stop: async () => commands.forEach((stop) => void stop()),
      },
    ];
  },
});
