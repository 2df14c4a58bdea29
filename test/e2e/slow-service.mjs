// A service whose component takes its time to stop, run by service-process.spec.ts.
import { readServiceConfig, runService } from '@jetlane/nestjs/service';

const stopMs = Number(process.env.TRIAL_STOP_MS);
let stopped;
const stop = () =>
  new Promise((resolve) => {
    stopped = resolve;
    setTimeout(resolve, stopMs);
  });
const abort = () => process.env.TRIAL_ABORT === 'heeds' && stopped();
await runService({
  config: () => readServiceConfig('slow', 3999, 'TRIAL_PORT'),
  shutdownTimeoutMs: Number(process.env.TRIAL_DEADLINE_MS),
  components: () => [{ start: async () => undefined, stop, ...(process.env.TRIAL_ABORT ? { abort } : {}) }],
});
