import type { QueueStats, TaskClient } from '@jetlane/client';
import type { JetlaneError } from '@jetlane/protocol';
import { type AnalyticsFigures, readAnalyticsStats } from './analytics.js';
import { readDepths } from './depths.js';
import { mergeStats } from './merge.js';
import type { StatsView } from './view.js';

/** Figures younger than this are given again: a hundred open pages cost no more than one, ms. */
const FRESH_MS = 200;
const CALL_TIMEOUT_MS = 1500;

/** Asks a command of a service. @throws JetlaneError `service-unavailable` */
export type CallService = (service: string, command: string, input: unknown, timeoutMs: number) => Promise<unknown>;

type Missing = StatsView['missing'];

/** The figures of all queues, from the services that know them; what one of them cannot tell is missing, not an error. */
export class StatsSource {
  private last: { readonly at: number; readonly stats: Promise<StatsView> } | undefined;

  constructor(
    private readonly client: TaskClient,
    private readonly call: CallService,
  ) {}

  /** @throws JetlaneError when not even the server can be asked */
  read(): Promise<StatsView> {
    const now = performance.now();
    if (this.last && now - this.last.at < FRESH_MS) return this.last.stats;
    const stats = this.gather();
    this.last = { at: now, stats };
    stats.catch(() => {
      this.last = undefined;
    });
    return stats;
  }

  private async gather(): Promise<StatsView> {
    const missing: Missing = [];
    const [queues, analytics] = await Promise.all([this.queues(missing), this.analytics(missing)]);
    return { at: Date.now(), missing, queues: mergeStats(queues, analytics) };
  }

  private async queues(missing: Missing): Promise<readonly QueueStats[]> {
    try {
      return readDepths(await this.call('queue-manager', 'stats', {}, CALL_TIMEOUT_MS));
    } catch {
      missing.push({
        service: 'queue-manager',
        detail:
          'the queue-manager does not answer; depths were asked from the NATS server, and queues do not follow their definitions meanwhile',
      });
      return this.client.stats();
    }
  }

  private async analytics(missing: Missing): Promise<readonly AnalyticsFigures[] | undefined> {
    try {
      return readAnalyticsStats(await this.call('analytics', 'stats', {}, CALL_TIMEOUT_MS));
    } catch (error) {
      const why =
        (error as JetlaneError).code === 'service-unavailable'
          ? 'analytics does not answer'
          : `analytics failed: ${(error as Error).message}`;
      missing.push({ service: 'analytics', detail: `${why}; rates, totals and percentiles are unknown` });
      return undefined;
    }
  }
}
