import type { Connection } from '@jetlane/jetstream';
import { type Component, serveRegistered } from '@jetlane/nestjs/service';
import { type Heartbeat, type ProjectionStatus, SEARCH_COMMANDS } from '@jetlane/protocol';
import { removeFiles } from './database.js';
import { DeadSource } from './dead-source.js';
import { Feed, type FeedLog } from './feed.js';
import { FinishedSource } from './finished-source.js';
import { Projection } from './projection.js';
import { RunningSource } from './running-source.js';
import type { TaskFilter, TaskSource } from './task-filter.js';
import { TaskSearch } from './task-search.js';
import { QueuedSource, TimerSource } from './waiting-source.js';

export interface SearchOptions {
  /** File of the projection; undefined: none is kept. */
  readonly file?: string;
  /** The file is deleted at the stop. */
  readonly temporary?: boolean;
  readonly log: FeedLog;
  /** Last heartbeats of the workers that live. */
  readonly alive: (queue?: string) => readonly Heartbeat[];
}

type Lag = Pick<ProjectionStatus, 'state' | 'detail' | 'pending' | 'lag_ms'>;

/** Pause before a file that could not be used is tried again. */
const RETRY_MS = 3000;
const OFF: Lag = { state: 'off', detail: 'JETLANE_SEARCH=off', pending: 0, lag_ms: 0 };
const NO_PAYLOAD = 'the records of finished tasks have no payload';

/** Answers `tasks.list` and `search.status`; keeps the projection of finished tasks, unless it is off. */
export class SearchComponent implements Component {
  private stops: (() => void)[] = [];
  private projection: Projection | undefined;
  private feed: Feed | undefined;
  private unusable: string | undefined;
  private retry: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: SearchOptions,
  ) {}

  async start(): Promise<void> {
    const { connection } = this;
    this.openProjection();
    const search = new TaskSearch((filter) => this.sources(filter));
    this.stops = [
      serveRegistered(connection, SEARCH_COMMANDS.tasks, async (input) => ({ ...(await search.list(input)), projection: this.lag() })),
      serveRegistered(connection, SEARCH_COMMANDS.status, async () => this.status()),
    ];
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
    clearTimeout(this.retry);
    await this.feed?.stop();
    this.projection?.close();
    if (this.options.temporary && this.options.file) removeFiles(this.options.file);
  }

  status(): ProjectionStatus {
    return this.feed?.status() ?? { ...this.lag(), rows: 0, position: 0, bytes: 0, applied: 0, cost_ms: 0 };
  }

  /** A file that cannot be used costs the search of finished tasks, never the service; it is tried again: a process that stops may still have it. */
  private openProjection(): void {
    const { file, log } = this.options;
    if (file === undefined) return;
    try {
      this.projection = Projection.open(file);
      this.feed = new Feed(this.connection, this.projection, log);
      this.feed.start();
    } catch (error) {
      const { message } = error as Error;
      if (this.unusable !== message) log.warn({ file, error: message }, 'search:unusable');
      this.unusable = message;
      this.retry = setTimeout(() => this.openProjection(), RETRY_MS);
      this.retry.unref();
    }
  }

  /** How far the projection is behind. */
  lag(): Lag {
    if (this.feed) return this.feed.lag();
    return this.unusable ? { ...OFF, state: 'failed', detail: this.unusable } : OFF;
  }

  private sources(filter: TaskFilter): ReturnType<ConstructorParameters<typeof TaskSearch>[0]> {
    const running = new RunningSource(this.connection, this.options.alive);
    const live: TaskSource[] = [running, new QueuedSource(this.connection, running.ids), new TimerSource(this.connection)];
    const { projection } = this;
    if (projection && filter.payload === undefined) {
      return { sources: [...live, new FinishedSource(this.connection, projection)], notSearched: [] };
    }
    const states = (['completed', 'cancelled'] as const).filter((state) => filter.states.has(state));
    const reason = filter.payload === undefined ? `the projection of finished tasks is ${this.lag().state}` : NO_PAYLOAD;
    return { sources: [...live, new DeadSource(this.connection)], notSearched: states.length > 0 ? [{ states, reason }] : [] };
  }
}
