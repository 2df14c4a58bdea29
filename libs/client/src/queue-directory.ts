import { assertTopology, type Connection, type JsonBucket, openQueueBucket } from '@jetlane/jetstream';
import { JetlaneError, type QueueDefinition, UnknownQueueError } from '@jetlane/protocol';

/** The queues that are defined, kept current by a watch. */
export class QueueDirectory {
  private readonly definitions = new Map<string, QueueDefinition>();
  private opening: Promise<void> | undefined;
  private checking: Promise<void> | undefined;
  /** The installation is laid out as this process expects, and stays so. */
  private fits = false;
  private bucket: JsonBucket<QueueDefinition> | undefined;
  private stopWatching: (() => void) | undefined;

  constructor(private readonly connection: Connection) {}

  /** Opens the watch; resolves when the present definitions are known. @throws JetlaneError `wrong-topology` */
  async open(): Promise<void> {
    await this.checkTopology();
    this.opening ??= this.watch().catch((error: unknown) => {
      this.opening = undefined;
      throw error;
    });
    await this.opening;
  }

  /**
   * In another topology than the installation's a client would find no task, and say so. Asks until there is an answer, and again as long as
   * nobody has laid the installation out: whoever comes next may do it in another way. @throws JetlaneError `wrong-topology`
   */
  async checkTopology(): Promise<void> {
    if (this.fits) return;
    this.checking ??= this.askTopology().finally(() => {
      this.checking = undefined;
    });
    await this.checking;
  }

  /** The definition if it is known without asking, and may be relied on. */
  known(queue: string): QueueDefinition | undefined {
    return this.fits ? this.definitions.get(queue) : undefined;
  }

  /**
   * The definition of a queue; asks the server once before it says that there is none.
   * @throws UnknownQueueError
   */
  async get(queue: string): Promise<QueueDefinition> {
    if (typeof queue !== 'string') throw new JetlaneError('invalid-argument', 'expected a queue name', { details: { field: 'queue' } });
    await this.open();
    const known = this.definitions.get(queue);
    if (known) return known;
    const found = /^[a-z0-9_-]{1,64}$/.test(queue) ? (await this.bucket?.get(queue))?.value : undefined;
    const fresh = usable(queue, found);
    if (!fresh) throw new UnknownQueueError(queue, this.definitions.keys());
    this.definitions.set(queue, fresh);
    return fresh;
  }

  /** True when the queue is defined; asks the server once before it says no. */
  async has(queue: string): Promise<boolean> {
    return this.get(queue).then(
      () => true,
      (error: unknown) => {
        if (error instanceof UnknownQueueError) return false;
        throw error;
      },
    );
  }

  /** All definitions, by name. */
  all(): QueueDefinition[] {
    return [...this.definitions.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  close(): void {
    this.stopWatching?.();
  }

  private async askTopology(): Promise<void> {
    this.fits = await assertTopology(this.connection);
  }

  private async watch(): Promise<void> {
    this.bucket = await openQueueBucket(this.connection);
    const { ready, stop } = await this.bucket.watch(({ key, value: found }) => {
      const value = usable(key, found);
      if (value) this.definitions.set(key, value);
      else this.definitions.delete(key);
    });
    this.stopWatching = stop;
    await ready;
  }
}

/** The bucket may hold what no queue manager wrote; a definition under another queue's key would send tasks there. */
const usable = (key: string, value: QueueDefinition | undefined): QueueDefinition | undefined => (value?.name === key ? value : undefined);
