import { type KV, type KvEntry, Kvm } from '@nats-io/kv';
import type { Connection } from './connection.js';

/** A value of a bucket with the revision that a compare-and-set must name. */
export interface BucketEntry<T> {
  readonly key: string;
  readonly value: T;
  readonly revision: number;
}

/** What a watcher is told: a value, or that the key is gone. */
export type BucketChange<T> = { readonly key: string; readonly value: T | undefined; readonly revision: number };

/** A KV bucket of JSON values. */
export class JsonBucket<T> {
  private constructor(private readonly kv: KV) {}

  /** Opens the bucket, creating it when it is missing. */
  static async open<T>(connection: Connection, name: string, history = 8): Promise<JsonBucket<T>> {
    return new JsonBucket<T>(await new Kvm(connection.raw()).create(name, { history, replicas: connection.replicas }));
  }

  async get(key: string): Promise<BucketEntry<T> | undefined> {
    return read<T>(await this.kv.get(key));
  }

  /** Writes whatever stands there. */
  put(key: string, value: T): Promise<number> {
    return this.kv.put(key, JSON.stringify(value));
  }

  /** Writes only if the key is new; false when it is not. */
  async create(key: string, value: T): Promise<boolean> {
    try {
      await this.kv.create(key, JSON.stringify(value));
      return true;
    } catch (error) {
      if (await this.get(key)) return false;
      throw error;
    }
  }

  /** All values. */
  async all(): Promise<BucketEntry<T>[]> {
    const entries: BucketEntry<T>[] = [];
    for await (const key of await this.kv.keys()) {
      const entry = await this.get(key);
      if (entry) entries.push(entry);
    }
    return entries;
  }

  /** Calls back for every present value, then for every change, until the returned function is called; `ready` resolves after the present ones. */
  async watch(listener: (change: BucketChange<T>) => void): Promise<{ ready: Promise<void>; stop: () => void }> {
    let initialized: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => {
      initialized = resolve;
    });
    const iterator = await this.kv.watch();
    const empty = (await this.kv.status()).values === 0;
    if (empty) initialized();
    void (async () => {
      for await (const entry of iterator) {
        listener({ key: entry.key, value: read<T>(entry)?.value, revision: entry.revision });
        if (entry.delta === 0) initialized();
      }
    })();
    return { ready, stop: () => iterator.stop() };
  }
}

function read<T>(entry: KvEntry | null): BucketEntry<T> | undefined {
  if (!entry || entry.operation !== 'PUT') return undefined;
  return { key: entry.key, value: entry.json<T>(), revision: entry.revision };
}
