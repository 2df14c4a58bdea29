import { boundDeadLetters, type Connection, type DeadLetterBounds, type DeadLetterTotals, deadLetterTotals } from '@jetlane/jetstream';

export interface LetterWatchOptions {
  readonly bounds: DeadLetterBounds;
  readonly log: { warn(facts: object, event: string): void };
  /** Pause between two looks, in ms. Default 15,000. */
  readonly everyMs?: number;
}

/** Part of a bound from which on the log warns: the server removes the oldest without a word when it is reached. */
const NEARLY = 0.8;
const WARN_EVERY_MS = 600_000;

/** Keeps the bounds of the stream of dead letters, watches how near it comes to them, and has the figures for the metrics. */
export class LetterWatch {
  /** The figures of the last look; undefined before the first. */
  totals: DeadLetterTotals | undefined;
  private bound = false;
  private timer: NodeJS.Timeout | undefined;
  private readonly warned = new Map<string, number>();

  constructor(
    private readonly connection: Connection,
    private readonly options: LetterWatchOptions,
  ) {}

  async start(): Promise<void> {
    await this.look();
    this.timer = setInterval(() => void this.look(), this.options.everyMs ?? 15_000);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** One look now. Never throws: figures that cannot be read are those of the look before. */
  async look(): Promise<void> {
    if (this.connection.state !== 'connected') return;
    try {
      if (!this.bound) await this.setBounds();
      this.totals = await deadLetterTotals(this.connection);
      this.compare(this.totals);
    } catch (error) {
      this.warn('dead-letters:not-watched', { error: error instanceof Error ? error.message : String(error) });
    }
  }

  /** What cannot be set is told and tried again: a service that does not start would help nobody. */
  private async setBounds(): Promise<void> {
    const { bounds } = this.options;
    const why = await boundDeadLetters(this.connection, bounds).then(
      (set) => (set ? undefined : 'what is stored does not fit; redrive, export or discard some, or raise the bounds'),
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    this.bound = why === undefined;
    if (why !== undefined) this.warn('dead-letters:bounds-not-set', { ...bounds, why });
  }

  private compare({ count, bytes, oldestAt, bounds }: DeadLetterTotals): void {
    const full = bounds.maxBytes > 0 ? bytes / bounds.maxBytes : 0;
    const aged = bounds.maxAgeMs > 0 && oldestAt !== undefined ? (Date.now() - oldestAt) / bounds.maxAgeMs : 0;
    if (Math.max(full, aged) < NEARLY) return;
    this.warn('dead-letters:near-bounds', {
      count,
      bytes,
      oldestAt,
      ...bounds,
      next: 'the oldest will be removed; redrive, export or discard them',
    });
  }

  private warn(event: string, facts: object): void {
    const now = performance.now();
    if (now - (this.warned.get(event) ?? Number.NEGATIVE_INFINITY) < WARN_EVERY_MS) return;
    this.warned.set(event, now);
    this.options.log.warn(facts, event);
  }
}
