import type { KV, KvWatchEntry } from '@nats-io/kv';
import type { Connection } from './connection.js';
import { apiCode } from './ensure.js';
import { listenerThrew } from './listener-error.js';

const STREAM_NOT_FOUND = 10059;
/** How often it is asked whether the bucket is still the same, in ms; the server also tells when one is deleted. */
const LOOK_MS = 15_000;

export interface BucketWatchOptions {
  readonly key: string;
  /** Opens the bucket, creating it when it is missing. */
  readonly make: () => Promise<KV>;
  readonly onEntry: (entry: KvWatchEntry) => void;
}

/**
 * A watch on a bucket that outlives the bucket: the client's own falls silent for ever when somebody deletes it. Then it is made again and
 * watched anew. States: new → open (`open`) → stopped (`stop`).
 */
export class BucketWatch {
  private created = '';
  private iterator: { stop(): void } | undefined;
  private looking = false;
  private stopped = false;
  private readonly timer: NodeJS.Timeout;
  private readonly stopListening: () => void;

  constructor(
    private readonly connection: Connection,
    private readonly bucket: string,
    private readonly options: BucketWatchOptions,
  ) {
    const look = () => void this.look();
    this.timer = setInterval(look, LOOK_MS).unref();
    const stopAdvisories = connection.subscribe(`$JS.EVENT.ADVISORY.STREAM.DELETED.KV_${bucket}`, look);
    // Left open, the client's watch would go on looking for heartbeats, and print an error for each that a closed connection does not bring.
    const stopStates = connection.onState((state) => {
      if (state === 'closed') this.stop();
    });
    this.stopListening = () => {
      stopStates();
      if (connection.state !== 'closed') stopAdvisories();
    };
  }

  /** Resolves with a promise that resolves after the present values. */
  async open(): Promise<{ ready: Promise<void> }> {
    const kv = await this.options.make();
    let initialized: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => {
      initialized = resolve;
    });
    this.iterator?.stop();
    const iterator = await kv.watch({ key: this.options.key });
    const { values, streamInfo } = await kv.status();
    if (this.stopped) iterator.stop();
    this.iterator = iterator;
    this.created = String(streamInfo.created);
    if (values === 0) initialized();
    void this.tell(iterator, initialized);
    return { ready };
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
    this.stopListening();
    this.iterator?.stop();
  }

  /** Neither a value that is no JSON nor a listener that throws may end it: many processes watch one bucket. */
  private async tell(entries: AsyncIterable<KvWatchEntry>, initialized: () => void): Promise<void> {
    try {
      for await (const entry of entries) {
        try {
          this.options.onEntry(entry);
        } catch (error) {
          listenerThrew(`the watcher of bucket "${entry.bucket}"`, error);
        }
        if (entry.delta === 0) initialized();
      }
    } catch (error) {
      listenerThrew('the watch on a bucket', error);
    }
  }

  private async look(): Promise<void> {
    if (this.looking || this.stopped || this.connection.state !== 'connected') return;
    this.looking = true;
    try {
      if ((await this.createdNow()) !== this.created && !this.stopped) await this.open();
    } catch {
      // Nobody answers, or we may not ask: the next look.
    } finally {
      this.looking = false;
    }
  }

  private async createdNow(): Promise<string | undefined> {
    const { streams } = await this.connection.admin();
    try {
      return String((await streams.info(`KV_${this.bucket}`)).created);
    } catch (error) {
      if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
      throw error;
    }
  }
}
