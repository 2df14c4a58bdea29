import { readQueueStats } from '@jetlane/client';
import { consumerState, directGetNext } from '@jetlane/jetstream';
import { type Duration, JetlaneError, LANES, type Lane, toMs } from '@jetlane/protocol';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { HealthIndicatorService } from '@nestjs/terminus';
import type { TaskWorkers } from '../handlers/workers.js';
import type { Jetlane } from '../module/jetlane.js';

/** How old the oldest waiting task of a queue may be. */
export interface BacklogOptions {
  readonly queue: string;
  readonly maxAge: Duration;
  /** Default: all lanes. */
  readonly lanes?: readonly Lane[];
}

/**
 * Terminus indicators of one connection, for the readiness probe: `() => jetlane.progress()`. Liveness should not depend on the broker:
 * restarting this process does not mend that one.
 */
export class JetlaneHealthIndicator {
  constructor(
    private readonly indicators: HealthIndicatorService,
    private readonly jetlane: Jetlane,
    private readonly workers: TaskWorkers,
  ) {}

  /** Down while the link to NATS is. @param key name in the answer. Default `nats` */
  connection(key = 'nats'): HealthIndicatorResult {
    const { state, reconnects } = this.jetlane.connection;
    const indicator = this.indicators.check(key);
    return state === 'connected' ? indicator.up({ reconnects }) : indicator.down({ state, reconnects });
  }

  /** Down when a lane of an opened queue lacks its stream or its consumer. @param key default `streams` */
  async streams(key = 'streams'): Promise<HealthIndicatorResult> {
    return this.answer(key, async () => {
      const looks = await Promise.all(this.jetlane.queueNames().flatMap((queue) => LANES.map((lane) => this.look(queue, lane))));
      const missing = looks.flatMap(({ queue, lane, consumer }) => (consumer ? [] : [`${queue}.${lane}`]));
      return {
        status: missing.length === 0 ? 'up' : 'down',
        facts: missing.length > 0 ? { missing } : { queues: this.jetlane.queueNames().length },
      };
    });
  }

  /**
   * Down when a worker of this process does not run, or a lane of it gets nothing though it should: a pull is open, tasks wait, the queue is
   * not paused, and nothing has been handed out for 5 s, on new pulls neither; or its pulls are refused. Tasks that wait for a limit of
   * their queue are no problem. @param key default `progress`
   */
  progress(key = 'progress'): Promise<HealthIndicatorResult> {
    return this.answer(key, async () => {
      if (this.jetlane.role === 'producer') return { status: 'up', facts: { role: 'producer' } };
      const queues = this.workers.queueNames();
      const problems = queues.flatMap((queue) => this.problemsOf(queue));
      return problems.length === 0 ? { status: 'up', facts: { queues: queues.length } } : { status: 'down', facts: { problems } };
    });
  }

  /** Degraded while the oldest task of a queue has waited longer than its SLA. @param key default `backlog` */
  async backlogAge({ queue, maxAge, lanes = LANES }: BacklogOptions, key = 'backlog'): Promise<HealthIndicatorResult> {
    const limitMs = toMs(maxAge, 'maxAge');
    return this.answer(key, async () => {
      const stats = await readQueueStats(this.jetlane.connection, queue);
      const oldestMs = Math.max(0, ...lanes.map((lane) => stats.lanes[lane].oldestAgeMs ?? 0));
      return { status: oldestMs > limitMs ? 'degraded' : 'up', facts: { queue, depth: stats.depth, oldestMs, limitMs } };
    });
  }

  /**
   * Degraded while a due task (a delay or a retry whose hour has come) has waited longer for a scheduler: none runs, or they do not keep up.
   * @param maxLate default 30s @param key default `timers`
   */
  async timers(maxLate: Duration = '30s', key = 'timers'): Promise<HealthIndicatorResult> {
    const limitMs = toMs(maxLate, 'maxLate');
    return this.answer(key, async () => {
      const { connection } = this.jetlane;
      const oldest = await directGetNext(connection, connection.names.schedules, 1, connection.names.pattern('due.>'));
      const lateMs = oldest ? Math.max(0, Date.now() - oldest.storedAt) : 0;
      return { status: lateMs > limitMs ? 'degraded' : 'up', facts: { lateMs, limitMs } };
    });
  }

  private async look(queue: string, lane: Lane) {
    const { connection } = this.jetlane;
    const { stream, consumer } = connection.names.lane(queue, lane);
    return { queue, lane, consumer: await consumerState(connection, stream, consumer) };
  }

  /** The worker's own watchdog looks all the time; a probe that asks now and then could only guess. */
  private problemsOf(queue: string): string[] {
    const { state, problems } = this.workers.worker(queue)!.health();
    return state === 'running' ? problems.map((problem) => `${queue}: ${problem}`) : [`${queue}: the worker is ${state}`];
  }

  /** While the link is down there is no asking: a probe must be answered in time. */
  private async answer(key: string, examine: () => Promise<Finding>): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check(key);
    const { state } = this.jetlane.connection;
    if (state !== 'connected') return indicator.down({ reason: `the connection is ${state}` });
    try {
      const { status, facts } = await examine();
      if (status === 'up') return indicator.up(facts);
      return status === 'down' ? indicator.down(facts) : indicator.degraded(facts);
    } catch (error) {
      return indicator.down({ reason: reasonOf(error) });
    }
  }
}

interface Finding {
  readonly status: 'up' | 'degraded' | 'down';
  readonly facts: Record<string, unknown>;
}

const reasonOf = (error: unknown): string =>
  error instanceof JetlaneError ? `${error.code}: ${error.message}` : error instanceof Error ? error.message : String(error);
