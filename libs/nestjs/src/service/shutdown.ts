import type { Logger } from 'pino';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
const EXIT_BY_SIGNAL = { SIGTERM: 143, SIGINT: 130 } as const;

/** How long a stop may still take after a second signal, in ms. */
const ABORT_MS = 5000;

/**
 * Stops gracefully on the first SIGTERM or SIGINT and ends the process: with 0 (or the `process.exitCode` that somebody set),
 * or with 1 when the stop fails or takes longer than the deadline. A second signal cuts short what takes long, so that it is
 * still handed back in order; where there is nothing to cut short, and at a third signal, the process ends at once.
 */
export class ShutdownOnSignal {
  private stopping = false;
  private aborting = false;
  private readonly removers: (() => void)[] = [];

  constructor(
    private readonly logger: Logger,
    private readonly timeoutMs: number,
    private stop: () => Promise<void>,
    /** Cuts the stop short; false when nothing can be. */
    private abort: () => boolean = () => false,
  ) {
    for (const signal of SIGNALS) {
      const listener = (): void => this.received(signal);
      process.on(signal, listener);
      this.removers.push(() => process.off(signal, listener));
    }
  }

  /** Changes what a signal stops: during the start there is less than after it. */
  replace(stop: () => Promise<void>, abort: () => boolean): void {
    this.stop = stop;
    this.abort = abort;
  }

  /** True once a signal has come. */
  get begun(): boolean {
    return this.stopping;
  }

  /** Stops listening for signals. */
  remove(): void {
    for (const remove of this.removers.splice(0)) remove();
  }

  private received(signal: (typeof SIGNALS)[number]): void {
    if (this.stopping) return this.again(signal);
    this.stopping = true;
    this.logger.info({ signal, timeoutMs: this.timeoutMs }, 'service:stopping');
    setTimeout(() => {
      this.logger.error({ timeoutMs: this.timeoutMs }, 'service:stop-timeout');
      process.exit(1);
    }, this.timeoutMs).unref();
    this.stop().then(
      () => this.exit(Number(process.exitCode ?? 0)),
      (error: unknown) => this.failed(error),
    );
  }

  private again(signal: (typeof SIGNALS)[number]): void {
    const end = (): never => {
      this.logger.warn({ signal }, 'service:aborted');
      process.exit(EXIT_BY_SIGNAL[signal]);
    };
    if (this.aborting || !this.abort()) end();
    this.aborting = true;
    this.logger.warn({ signal, timeoutMs: ABORT_MS }, 'service:aborting');
    setTimeout(end, ABORT_MS).unref();
  }

  private failed(error: unknown): void {
    this.logger.error({ err: error }, 'service:stop-failed');
    this.exit(1);
  }

  private exit(code: number): void {
    this.logger.info('service:stopped');
    process.exit(code);
  }
}
