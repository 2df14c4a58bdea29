import { JetStreamApiError } from '@nats-io/jetstream';
import { type KV, type KvEntry, Kvm, type KvWatchEntry } from '@nats-io/kv';
import { BucketWatch } from './bucket-watch.js';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';
import { streamExists } from './lane-list.js';
import { untilAnswered } from './until-answered.js';

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
    private readonly connection: Connection,
    private readonly name: string,
    private readonly kv: KV,
    private readonly make: () => Promise<KV>,
  ) {}

  /**
   * Opens the bucket, creating it when it is missing.
   * @param maxAgeMs how long a value stays after its last change; default: for ever
   */
  static async open<T>(connection: Connection, name: string, history = 8, maxAgeMs = 0): Promise<JsonBucket<T>> {
    const limits = { history, ttl: maxAgeMs, replicas: connection.replicas };
    const make = () => untilAnswered(() => new Kvm(connection.raw()).create(name, limits)).catch(rethrow);
    return new JsonBucket<T>(connection, name, await make(), make);
  }

  /** Opens a bucket to read it; `undefined` when nobody has made it. */
  static async existing<T>(connection: Connection, name: string): Promise<JsonBucket<T> | undefined> {
    return (await streamExists(connection, `KV_${name}`)) ? JsonBucket.open<T>(connection, name) : undefined;
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
    return (await this.insert(key, value)) !== undefined;
  }

  /** Writes only if the key is new or was removed; the revision, or undefined when there is one. */
  async insert(key: string, value: T): Promise<number | undefined> {
    try {
      return await this.kv.create(key, JSON.stringify(value));
    } catch (error) {
      // A read may come from a replica that does not know it yet, as the client's own look did.
      if (error instanceof JetStreamApiError && error.code === WRONG_SEQUENCE) return undefined;
      if (await this.get(key)) return undefined;
      return rethrow(error);
    }
  }

  /** Removes the key only if nobody wrote since; false when somebody did. Its history stays. */
  async remove(key: string, revision: number): Promise<boolean> {
    try {
      await this.kv.delete(key, { previousSeq: revision });
      return true;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === WRONG_SEQUENCE) return false;
      throw error;
    }
  }

  /** What stood under a key, oldest first, as far as the bucket keeps it. */
  async history(key: string): Promise<(BucketChange<T> & { readonly at: number })[]> {
    const past: (BucketChange<T> & { at: number })[] = [];
    for await (const entry of await this.kv.history({ key }))
      past.push({ key, value: read<T>(entry)?.value, revision: entry.revision, at: entry.created.getTime() });
    return past;
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
   * When somebody deletes the bucket, it is made again, and the watch is opened anew: what was told before is not told as gone.
   * @param key only this one, or those that match (`a.*`); then there must be one, or `ready` waits for it. Default: all
   */
  async watch(listener: (change: BucketChange<T>) => void, key = '>'): Promise<{ ready: Promise<void>; stop: () => void }> {
    const onEntry = (entry: KvWatchEntry) => {
      const known = read<T>(entry);
      if (known || entry.operation !== 'PUT') listener({ key: entry.key, value: known?.value, revision: entry.revision });
    };
    const watch = new BucketWatch(this.connection, this.name, { key, make: this.make, onEntry });
    const { ready } = await watch.open().catch((error: unknown) => {
      watch.stop();
      throw error;
    });
    return { ready, stop: () => watch.stop() };
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
