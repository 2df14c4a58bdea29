import { type Connection, openQueueBucket } from '@jetlane/jetstream';
import { LANE_DEFAULTS, type QueueDefinition, toMs } from '@jetlane/protocol';

/** How long each queue keeps its records, from the queue definitions. */
export class RecordAges {
  private readonly ages = new Map<string, number>();
  private stopWatching: () => void = () => undefined;

  constructor(private readonly connection: Connection) {}

  async start(): Promise<void> {
    const bucket = await openQueueBucket(this.connection);
    const { ready, stop } = await bucket.watch(({ key, value }) => {
      const age = ageOf(value);
      if (age === undefined) this.ages.delete(key);
      else this.ages.set(key, age);
    });
    this.stopWatching = stop;
    await ready;
  }

  stop(): void {
    this.stopWatching();
  }

  /** In ms. */
  readonly of = (queue: string): number => this.ages.get(queue) ?? LANE_DEFAULTS.keepRecordsMs;
}

/** Undefined for no definition, for one that does not say, and for one that cannot be read. */
function ageOf(definition: QueueDefinition | undefined): number | undefined {
  try {
    return definition?.keepRecords === undefined ? undefined : toMs(definition.keepRecords);
  } catch {
    return undefined;
  }
}
