import { type Connection, type JsonBucket, openQueueBucket } from '@jetlane/jetstream';
import { isQueueName, LANE_DEFAULTS, type QueueDefinition, toMs, UnknownQueueError } from '@jetlane/protocol';

/** The queue definitions, kept current by a watch. */
export class Queues {
  private readonly definitions = new Map<string, QueueDefinition>();
  private bucket: JsonBucket<QueueDefinition> | undefined;
  private stopWatching: () => void = () => undefined;

  constructor(private readonly connection: Connection) {}

  async start(): Promise<void> {
    this.bucket = await openQueueBucket(this.connection);
    const { ready, stop } = await this.bucket.watch(({ key, value }) => {
      if (value?.name === key) this.definitions.set(key, value);
      else this.definitions.delete(key);
    });
    this.stopWatching = stop;
    await ready;
  }

  stop(): void {
    this.stopWatching();
  }

  /** How long this queue keeps its records, in ms; the default for a queue that is not defined, or whose definition cannot be read. */
  readonly keepMs = (queue: string): number => {
    try {
      const definition = this.definitions.get(queue);
      const age = definition?.keepFailures ?? definition?.keepRecords;
      return age === undefined ? LANE_DEFAULTS.keepRecordsMs : toMs(age);
    } catch {
      return LANE_DEFAULTS.keepRecordsMs;
    }
  };

  /** True when the queue is defined; asks the server before it says no. */
  async has(queue: string): Promise<boolean> {
    return (await this.find(queue)) !== undefined;
  }

  /** @throws UnknownQueueError */
  async get(queue: string): Promise<QueueDefinition> {
    const definition = await this.find(queue);
    if (!definition) throw new UnknownQueueError(queue, this.definitions.keys());
    return definition;
  }

  private async find(queue: string): Promise<QueueDefinition | undefined> {
    const known = this.definitions.get(queue);
    if (known || !isQueueName(queue)) return known;
    const stored = (await this.bucket?.get(queue))?.value;
    return stored?.name === queue ? stored : undefined;
  }
}
