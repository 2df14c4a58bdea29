import { LaunchError, reasonOf } from '../errors.js';
import { describeExit, type ProcessExit } from '../process/managed-process.js';
import type { PlatformListener } from './events.js';
import { RestartDelay } from './restart-delay.js';

/** Something that runs, may die, and can be started again: a service, nats-server, PostgreSQL. */
export interface Restartable {
  readonly name: string;
  readonly logFile: string;
  readonly exited: Promise<ProcessExit>;
  start(): Promise<void>;
  stop(): Promise<unknown>;
  /** The last lines of its log, for the event that tells of a death. */
  tail(): readonly string[];
}

/**
 * Keeps one thing running.
 *
 * States: idle → watched (after `watch`) → restarting (it died) → watched … → released (after `release`). Only this class
 * changes the state.
 */
export class Supervisor {
  #released = true;
  #generation = 0;
  #startedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #restarting: Promise<void> | undefined;
  readonly #delay = new RestartDelay();

  constructor(
    private readonly thing: Restartable,
    private readonly emit: PlatformListener,
    private readonly enabled: boolean,
  ) {}

  /** Number of restarts after a death since `watch` was first called. */
  restarts = 0;

  /** Call when the thing runs; from then on its death is answered with a restart. */
  watch(): void {
    this.#released = false;
    const generation = ++this.#generation;
    this.#startedAt = performance.now();
    void this.thing.exited.then((exit) => {
      if (!this.#released && generation === this.#generation) this.#died(describeExit(exit));
    });
  }

  /** From now on, at once, a death is what was wanted. Resolves when no restart is under way any more. */
  async release(): Promise<void> {
    this.#released = true;
    this.#delay.reset();
    clearTimeout(this.#timer);
    await this.#restarting;
  }

  #died(how: string): void {
    const { name, logFile } = this.thing;
    if (!this.enabled) return;
    const restartInMs = this.#delay.next(performance.now() - this.#startedAt);
    this.emit({ type: 'service:exited', name, how, restartInMs, logFile, lines: this.thing.tail() });
    this.#timer = setTimeout(() => {
      this.#restarting = this.#restart();
    }, restartInMs);
  }

  async #restart(): Promise<void> {
    this.#startedAt = performance.now();
    try {
      await this.thing.start();
      this.restarts++;
      if (!this.#released) this.watch();
    } catch (error) {
      if (!this.#released) this.#died(howOf(error));
    }
  }
}

/** A failed restart, as briefly as an exit. */
function howOf(error: unknown): string {
  const how = error instanceof LaunchError ? error.details.how : undefined;
  return typeof how === 'string' ? how : reasonOf(error);
}
