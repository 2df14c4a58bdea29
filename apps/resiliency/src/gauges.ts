import type { DeadLetterTotals } from '@jetlane/jetstream';
import type { ServiceContext } from '@jetlane/nestjs/service';
import { METRICS, type MetricSpec } from '@jetlane/telemetry';
import type { LetterWatch } from './letter-watch.js';

/** Shows at `/metrics` how many dead letters are stored, how much they take, and how old the oldest is. */
export function exposeGauges(meter: ServiceContext['meter'], watch: LetterWatch): void {
  gauge(meter, watch, METRICS.deadLettersStored, ({ count }) => count);
  gauge(meter, watch, METRICS.deadLettersBytes, ({ bytes }) => bytes);
  gauge(meter, watch, METRICS.deadLettersOldestAge, ({ oldestAt }) =>
    oldestAt === undefined ? 0 : Math.max(0, Date.now() - oldestAt) / 1000,
  );
}

function gauge(
  meter: ServiceContext['meter'],
  watch: LetterWatch,
  { name, unit, description }: MetricSpec,
  value: (totals: DeadLetterTotals) => number,
): void {
  meter.createObservableGauge(name, { unit, description }).addCallback((result) => {
    if (watch.totals) result.observe(value(watch.totals));
  });
}
