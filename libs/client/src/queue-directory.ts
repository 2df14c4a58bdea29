import { type Connection, openQueueBucket } from '@jetlane/jetstream';
import { type QueueDefinition, UnknownQueueError } from '@jetlane/protocol';

/** The queues that are defined, kept current by a watch. */
export class QueueDirectory {
  private readonly definitions = new Map<string, QueueDefinition>();
  private opening: Promise<void> | undefined;
  private stopWatching: (() => void) | undefined;

  constructor(private readonly connection: Connection) {}

  /** Opens the watch; resolves when the present definitions are known. */
  open(): Promise<void> {
    this.opening ??= this.watch().catch((error: unknown) => {
      this.opening = undefined;
      throw error;
    });
    return this.opening;
  }

  /** The definition if it is known without asking. */
  known(queue: string): QueueDefinition | undefined {
    return this.definitions.get(queue);
  }

  /**
   * The definition of a queue; asks the server once before it says that there is none.
   * @throws UnknownQueueError
   */
  async get(queue: string): Promise<QueueDefinition> {
    await this.open();
    const known = this.definitions.get(queue);
    if (known) return known;
    const fresh = /^[a-z0-9_-]{1,64}$/.test(queue) ? (await (await openQueueBucket(this.connection)).get(queue))?.value : undefined;
    if (!fresh) throw new UnknownQueueError(queue, this.definitions.keys());
    this.definitions.set(queue, fresh);
    return fresh;
  }

  /** All definitions, by name. */
  all(): QueueDefinition[] {
    return [...this.definitions.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  close(): void {
    this.stopWatching?.();
  }

  private async watch(): Promise<void> {
    const bucket = await openQueueBucket(this.connection);
    const { ready, stop } = await bucket.watch(({ key, value }) => {
      if (value) this.definitions.set(key, value);
      else this.definitions.delete(key);
    });
    this.stopWatching = stop;
    await ready;
  }
}
