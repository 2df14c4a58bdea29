import type { Connection } from '@jetlane/jetstream';
import type { Component, HealthRegistry } from '@jetlane/nestjs/service';
import { JetlaneError } from '@jetlane/protocol';
import type { Logger } from 'pino';

/** A round trip is begun this long after the last one has ended, ms. */
const EVERY_MS = 250;
/** A round trip that takes longer than this means that the broker stands still, ms. Busy ones answer within a tenth of it. */
const STALLED_MS = 1500;

/** One question to the broker. */
interface Question {
  /** `performance.now()` */
  readonly askedAt: number;
  /** The link that was asked: an answer that is owed by a former one is owed by nobody. */
  readonly epoch: number;
  answered: boolean;
  /** It has waited too long. */
  stalled: boolean;
}

/**
 * Knows within two seconds that the broker does not answer though its connection stands: its host hangs, or the network
 * swallows what is sent. Requests are then refused at once instead of being gathered, and readiness says so. One round trip is
 * under way at a time; the answer to it, however late, is what ends the stall: nobody has to try.
 */
export class BrokerWatch implements Component {
  private question: Question | undefined;
  private running = false;
  private timer: NodeJS.Timeout | undefined;
  private forget: () => void = () => undefined;

  constructor(
    private readonly connection: Connection,
    private readonly health: HealthRegistry,
    private readonly logger: Pick<Logger, 'info' | 'warn'>,
  ) {}

  /** How long the broker has owed an answer, ms; 0 when it owes none for long enough to matter. */
  get stalledMs(): number {
    const { question } = this;
    if (!question?.stalled || question.answered || !this.concerns(question)) return 0;
    return performance.now() - question.askedAt;
  }

  /** @throws JetlaneError `request-timeout` */
  assertAnswering(): void {
    const ms = this.stalledMs;
    if (ms === 0) return;
    throw new JetlaneError('request-timeout', `NATS has not answered for ${(ms / 1000).toFixed(1)} s; nothing was sent to it, try again`);
  }

  async start(): Promise<void> {
    this.running = true;
    const ignore = this.connection.onState((state) => {
      if (state === 'connected') void this.ask();
    });
    const remove = this.health.add('broker', () => {
      const ms = this.stalledMs;
      return ms === 0 ? { up: true } : { up: false, message: `no answer from NATS for ${Math.round(ms)} ms` };
    });
    this.forget = () => {
      ignore();
      remove();
    };
    void this.ask();
  }

  async stop(): Promise<void> {
    this.running = false;
    clearTimeout(this.timer);
    this.forget();
  }

  private concerns({ epoch }: Question): boolean {
    return this.connection.state === 'connected' && this.connection.epoch === epoch;
  }

  private async ask(): Promise<void> {
    clearTimeout(this.timer);
    const question: Question = { askedAt: performance.now(), epoch: this.connection.epoch, answered: false, stalled: false };
    this.question = question;
    // The answer may lie in the socket while this process was busy itself: it is read before the verdict.
    const late = setTimeout(() => setImmediate(() => setImmediate(() => this.late(question))), STALLED_MS);
    // A link that breaks meanwhile ends the wait too; the connection's state then says what is wrong.
    await this.connection.flush().catch(() => undefined);
    clearTimeout(late);
    question.answered = true;
    if (question !== this.question) return;
    if (question.stalled && this.concerns(question))
      this.logger.info({ tookMs: Math.round(performance.now() - question.askedAt) }, 'broker:answers');
    if (this.running) this.timer = setTimeout(() => void this.ask(), EVERY_MS);
  }

  private late(question: Question): void {
    if (!this.running || question.answered || !this.concerns(question)) return;
    question.stalled = true;
    this.logger.warn({ afterMs: Math.round(performance.now() - question.askedAt) }, 'broker:stalled');
  }
}
