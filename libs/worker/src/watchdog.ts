import { type Connection, type ConsumerState, consumerState } from '@jetlane/jetstream';
import type { Lane } from '@jetlane/protocol';
import type { CompiledOptions } from './options.js';

/** What the fetch loop tells of a lane. */
export interface LaneView {
  readonly lane: Lane;
  /** Messages asked for and not delivered. */
  readonly open: number;
  /** Messages delivered so far. */
  readonly delivered: number;
}

/** What is wrong with a lane, or only worth knowing. */
export interface LaneTrouble {
  /** Why it gets no tasks though it should; the pulls are rebuilt again and again meanwhile. */
  readonly stuck?: string;
  /** For how long it has been stuck, in ms. */
  readonly stuckMs?: number;
  /** Somebody paused it on the server: nothing comes, and nothing is wrong. */
  readonly paused?: true;
  /** As many tasks are out with workers as the server hands out at a time. */
  readonly exhausted?: true;
}

export interface WatchdogHooks {
  readonly lanes: () => readonly LaneView[];
  /** Asks the server anew. */
  readonly rebuild: (lane: Lane) => void;
  /** The lane's consumer or stream is gone: makes it again. */
  readonly provision: (lane: Lane) => Promise<void>;
  /** Told at every look that finds a lane stuck. */
  readonly stuck: (lane: Lane, reason: string, forMs: number) => void;
  /** It gets tasks again, or has none. */
  readonly recovered: (lane: Lane) => void;
}

interface LaneWatch {
  readonly lane: Lane;
  delivered: number;
  /** `performance.now()` since which nothing came though it was asked for. */
  quietSince: number;
  /** The last look found work that nobody brought: the next one decides. */
  suspected: boolean;
  /** Looks in a row that found it stuck, each followed by new pulls. */
  rebuilds: number;
  stuckSince: number;
  reason: string | undefined;
  paused: boolean;
  exhausted: boolean;
  looking: boolean;
}

const TICK_MS = 500;
/** Silence on an open pull after which the server is asked: the second look, a second later, is at five. */
const QUIET_MS = 4000;
/** A task that was stored just before the first look is delivered long before the second. */
const CONFIRM_MS = 1000;

/**
 * Finds lanes that look alive and get nothing. Stuck is a lane whose pull is open, while the server has tasks for it, is not
 * paused, may hand more out, and has delivered nothing for 5 s. Its pulls are rebuilt; when that does not help, the worker is
 * not ready and says which lane and why. The server is asked only about lanes on which nothing comes, once in 4 s.
 *
 * States of a lane: quiet → suspected (work is there) → rebuilt → stuck (rebuilt in vain) → quiet, by any delivery.
 */
export class Watchdog {
  private readonly watches = new Map<Lane, LaneWatch>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: Pick<CompiledOptions, 'queue' | 'log'>,
    private readonly hooks: WatchdogHooks,
  ) {}

  start(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** What is known about a lane beyond the ordinary. */
  trouble(lane: Lane): LaneTrouble {
    const watch = this.watches.get(lane);
    if (!watch) return {};
    const { reason, stuckSince, paused, exhausted } = watch;
    return {
      ...(reason === undefined ? {} : { stuck: reason, stuckMs: Math.round(performance.now() - stuckSince) }),
      ...(paused ? { paused } : {}),
      ...(exhausted ? { exhausted } : {}),
    };
  }

  /** The lane was refused, or fell silent: looks at once. */
  async look(lane: Lane): Promise<void> {
    const watch = this.watchOf(lane);
    if (watch.looking || !this.timer || this.connection.state !== 'connected') return;
    watch.looking = true;
    try {
      const { stream, consumer } = this.connection.names.lane(this.options.queue, lane);
      const found = await consumerState(this.connection, stream, consumer);
      if (!this.timer) return;
      if (found) this.judge(watch, found);
      else await this.hooks.provision(lane);
    } catch (error) {
      this.options.log.warn({ queue: this.options.queue, lane, error: (error as Error).message }, 'lane:unanswered');
    } finally {
      watch.looking = false;
    }
  }

  private tick(): void {
    const now = performance.now();
    const connected = this.connection.state === 'connected';
    for (const { lane, open, delivered } of this.hooks.lanes()) {
      const watch = this.watchOf(lane);
      if (delivered !== watch.delivered) {
        watch.delivered = delivered;
        watch.quietSince = now;
        watch.paused = watch.exhausted = false;
        this.clear(watch);
      } else if (!connected || open === 0) watch.quietSince = now;
      else if (now - watch.quietSince >= (watch.suspected ? QUIET_MS + CONFIRM_MS : QUIET_MS)) void this.look(lane);
    }
  }

  private judge(watch: LaneWatch, found: ConsumerState): void {
    const now = performance.now();
    const [view] = this.hooks.lanes().filter(({ lane }) => lane === watch.lane);
    watch.paused = found.paused;
    watch.exhausted = found.pending > 0 && found.ackPending >= found.maxAckPending;
    if (view!.delivered !== watch.delivered || now - watch.quietSince < QUIET_MS) return;
    if (found.pending === 0 || watch.paused || watch.exhausted) {
      watch.quietSince = now;
      this.clear(watch);
    } else if (watch.suspected) this.rebuild(watch, found, now);
    else watch.suspected = true;
  }

  /** New pulls get what they ask for at once, so the look after the first rebuild comes soon; later ones take their time. */
  private rebuild(watch: LaneWatch, { pending }: ConsumerState, now: number): void {
    const { queue, log } = this.options;
    if (watch.rebuilds++ === 0) {
      watch.stuckSince = watch.quietSince;
      log.warn({ queue, lane: watch.lane, pending }, 'lane:silent');
    } else {
      watch.reason = `${pending} tasks wait, pulls are open, and nothing has been delivered for ${Math.round((now - watch.stuckSince) / 1000)} s; pulls were rebuilt ${watch.rebuilds - 1} times`;
      log.error({ queue, lane: watch.lane, reason: watch.reason }, 'lane:stuck');
      this.hooks.stuck(watch.lane, watch.reason, now - watch.stuckSince);
    }
    watch.quietSince = watch.rebuilds === 1 ? now - QUIET_MS : now;
    this.hooks.rebuild(watch.lane);
  }

  private clear(watch: LaneWatch): void {
    watch.suspected = false;
    watch.rebuilds = 0;
    if (watch.reason === undefined) return;
    watch.reason = undefined;
    this.options.log.info({ queue: this.options.queue, lane: watch.lane }, 'lane:recovered');
    this.hooks.recovered(watch.lane);
  }

  private watchOf(lane: Lane): LaneWatch {
    let watch = this.watches.get(lane);
    if (!watch) {
      const quietSince = performance.now();
      const flags = { suspected: false, paused: false, exhausted: false, looking: false };
      watch = { lane, delivered: 0, quietSince, rebuilds: 0, stuckSince: 0, reason: undefined, ...flags };
      this.watches.set(lane, watch);
    }
    return watch;
  }
}
