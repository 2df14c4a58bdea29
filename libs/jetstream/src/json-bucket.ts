import { JetStreamApiError } from '@nats-io/jetstream';
import { type KV, type KvEntry, Kvm, type KvWatchEntry } from '@nats-io/kv';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';
import { listenerThrew } from './listener-error.js';

const WRONG_SEQUENCE = 10071;

/** A value of a bucket with the revision that a compare-and-set must name. */
export interface BucketEntry<T> {
  readonly key: string;
  readonly value: T;
  readonly revision: number;
}

/** What a watcher is told: a value, or that the key is gone. */
export type BucketChange<T> = { readonly key: string; readonly value: T | undefined; readonly revision: number };

/** @throws JetlaneError `permission-denied`, or the error itself */
function rethrow(error: unknown): never {
  throw permissionDenied(error) ?? error;
}

/** A KV bucket of JSON values. Every call may throw JetlaneError `permission-denied`. */
export class JsonBucket<T> {
  private constructor(
    private readonly kv: KV,
    private readonly connection: Connection,
  ) {}

  /**
   * Opens the bucket, creating it when it is missing.
   * @param maxAgeMs how long a value stays after its last change; default: for ever
   */
  static async open<T>(connection: Connection, name: string, history = 8, maxAgeMs = 0): Promise<JsonBucket<T>> {
    const buckets = new Kvm(connection.raw());
    const bucket = await buckets.create(name, { history, ttl: maxAgeMs, replicas: connection.replicas }).catch(rethrow);
    return new JsonBucket<T>(bucket, connection);
  }

  /** The value with its revision; undefined when there is none. @throws JetlaneError when the server cannot be asked */
  async get(key: string): Promise<BucketEntry<T> | undefined> {
    return read<T>(await this.kv.get(key));
  }

  /** Writes whatever stands there. */
  put(key: string, value: T): Promise<number> {
    return this.kv.put(key, JSON.stringify(value)).catch(rethrow);
  }

  /** Writes only if nobody wrote since; the new revision, or undefined when somebody did. */
  async update(key: string, value: T, revision: number): Promise<number | undefined> {
    try {
      return await this.kv.update(key, JSON.stringify(value), revision);
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === WRONG_SEQUENCE) return undefined;
      return rethrow(error);
    }
  }

  /** Writes only if the key is new; false when it is not. */
  async create(key: string, value: T): Promise<boolean> {
    try {
      await this.kv.create(key, JSON.stringify(value));
      return true;
    } catch (error) {
      if (await this.get(key)) return false;
      return rethrow(error);
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

  /**
   * Calls back for every present value, then for every change, until the returned function is called; `ready` resolves after the present ones.
   * @param key only this one, or those that match (`a.*`); then there must be one, or `ready` waits for it. Default: all
   */
  async watch(listener: (change: BucketChange<T>) => void, key = '>'): Promise<{ ready: Promise<void>; stop: () => void }> {
    let initialized: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => {
      initialized = resolve;
    });
    const iterator = await this.kv.watch({ key });
    const empty = (await this.kv.status()).values === 0;
    if (empty) initialized();
    void tell(iterator, listener, initialized);
    // Left open, the client's watch would go on looking for heartbeats, and print an error for each that a closed connection does not bring.
    const forget = this.connection.onState((state) => {
      if (state === 'closed') iterator.stop();
    });
    return {
      ready,
      stop: () => {
        forget();
        iterator.stop();
      },
    };
  }
}

/** Hands on what the watch brings. Neither a value that is no JSON nor a listener that throws may end it: many processes watch one bucket. */
async function tell<T>(
  entries: AsyncIterable<KvWatchEntry>,
  listener: (change: BucketChange<T>) => void,
  initialized: () => void,
): Promise<void> {
  try {
    for await (const entry of entries) {
      const known = read<T>(entry);
      try {
        if (known || entry.operation !== 'PUT') listener({ key: entry.key, value: known?.value, revision: entry.revision });
      } catch (error) {
        listenerThrew(`the watcher of bucket "${entry.bucket}"`, error);
      }
      if (entry.delta === 0) initialized();
    }
  } catch (error) {
    listenerThrew('the watch on a bucket', error);
  }
}

/** `undefined` for a key that is deleted, and for a value that somebody wrote and that is no JSON. */
function read<T>(entry: KvEntry | null): BucketEntry<T> | undefined {
  if (entry?.operation !== 'PUT') return undefined;
  try {
    return { key: entry.key, value: entry.json<T>(), revision: entry.revision };
  } catch {
    return undefined;
  }
}
