import { runService } from '@jetlane/nestjs/service';
import { METRICS } from '@jetlane/telemetry';
import { Scheduler } from '@jetlane/worker/scheduler';
import { schedulerConfig } from './config.js';

await runService({
  config: schedulerConfig,
  components: ({ connection, logger, meter, health }) => {
    const { name, unit, description } = METRICS.schedulerMoved;
    const moved = meter.createCounter(name, { unit, description });
    const scheduler = new Scheduler(connection, {
      log: logger,
      onFate: (fate, queue) => {
        if (fate === 'moved') moved.add(1, { queue });
      },
    });
    health.add('scheduler', () => ({ ...scheduler.health() }));
    return [scheduler];
  },
});
