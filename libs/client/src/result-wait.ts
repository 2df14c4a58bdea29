import { type Connection, type ConnectionState, type CoreMessage, leaderGet, type TaskStore } from '@jetlane/jetstream';
import { decodeRecord, formatTaskId, isFinal, JetlaneError, type TaskId } from '@jetlane/protocol';
import type { TaskStatus } from './status.js';

/** How long to wait for a result. */
export interface WaitOptions {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const AGAIN_MS = 1000;
/** Longest delay of a timer in Node; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Waits until a task is completed, cancelled or dead. It listens for the record on its way to the stream and looks at the
 * task when one passes, at the start, and after a reconnect; between these nothing is asked.
 * States: waiting → settled.
 */
export class ResultWait {
  private settle: ((error: unknown, status?: TaskStatus) => void) | undefined;
  private again: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
    private readonly id: TaskId,
    private readonly lookUp: () => Promise<TaskStatus>,
  ) {}

  /** @throws JetlaneError `task-not-found`, `request-timeout`, `connection-closed`, `permission-denied`; the signal's reason */
  begin({ timeoutMs, signal }: WaitOptions): Promise<TaskStatus> {
    const { names } = this.connection;
    const { queue, key } = this.id;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const aborted = () => this.settle?.(signal?.reason);
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.expired(timeoutMs), Math.min(timeoutMs, LONGEST_TIMER_MS));
      const unsubscribe = this.connection.subscribe(names.state(queue, key), (message) => this.passed(message));
      // Who may not hear the record would wait for ever.
      const undeny = this.connection.denials.on(({ operation, subject, error }) => {
        if (operation !== 'subscription' || subject !== names.state(queue, key)) return false;
        this.settle?.(error);
        return true;
      });
      const unlisten = this.connection.onState((state) => this.linkChanged(state));
      signal?.addEventListener('abort', aborted, { once: true });
      this.settle = (error, status) => {
        this.settle = undefined;
        clearTimeout(timer);
        clearTimeout(this.again);
        unsubscribe();
        unlisten();
        undeny();
        signal?.removeEventListener('abort', aborted);
        if (status) resolve(status);
        else reject(error);
      };
      // The subscription must stand before the first look, or a record stored in between would be missed.
      const look = () => this.look();
      this.connection.flush().then(look, look);
    });
  }

  private look(): void {
    if (!this.settle || this.connection.state === 'reconnecting') return;
    this.lookUp().then(
      (status) => isFinal(status.state) && this.settle?.(undefined, status),
      (error: unknown) => this.failed(error),
    );
  }

  /** A broken link is not an answer: the reconnect looks again. Neither is a leader that does not answer now. */
  private failed(error: unknown): void {
    if (!(error instanceof JetlaneError && error.retryable)) return this.settle?.(error);
    clearTimeout(this.again);
    if (this.settle) this.again = setTimeout(() => this.look(), AGAIN_MS);
  }

  private passed(message: CoreMessage): void {
    const record = decodeRecord(message.data);
    if (!record || !isFinal(record.state)) return;
    this.recordStored().then(
      () => this.look(),
      (error: unknown) => this.failed(error),
    );
  }

  /** A listener sees a record before the stream has stored it: waits until the stream's leader shows a final one, or gives up. */
  private async recordStored(): Promise<void> {
    for (let pause = 1; pause < 2000; pause *= 2) {
      const { record } = await this.store.record(this.id.queue, this.id.key, leaderGet);
      if (!this.settle || (record && isFinal(record.state))) return;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  private linkChanged(state: ConnectionState): void {
    if (state === 'connected') this.look();
    else if (state === 'closed')
      this.settle?.(new JetlaneError('connection-closed', 'the connection was closed while a result was awaited'));
  }

  private expired(timeoutMs: number): void {
    const id = formatTaskId(this.id.queue, this.id.key);
    const message = `task "${id}" did not finish within ${timeoutMs} ms; it goes on`;
    this.settle?.(new JetlaneError('request-timeout', message, { details: { id } }));
  }
}
