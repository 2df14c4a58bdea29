import { type Connection, openQueueBucket } from '@jetlane/jetstream';
import { LANE_DEFAULTS, toMs } from '@jetlane/protocol';

/** How long each queue keeps its records, from the queue definitions. */
export class RecordAges {
  private readonly ages = new Map<string, number>();
  private stopWatching: () => void = () => undefined;

  constructor(private readonly connection: Connection) {}

  async start(): Promise<void> {
    const bucket = await openQueueBucket(this.connection);
    const { ready, stop } = await bucket.watch(({ key, value }) => {
      if (value?.keepRecords === undefined) this.ages.delete(key);
      else this.ages.set(key, toMs(value.keepRecords));
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
