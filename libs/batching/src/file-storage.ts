import { copyFile, type FileHandle, mkdir, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BatchingError } from './errors.js';
import { lock } from './file-lock.js';
import { applyChanges, type BatchStorage, type LoadedState, type StorageChange, type StorageDamage, type StoredItem } from './storage.js';

/** Changes behind a snapshot that make a new one worth while, when they are also twice as many as there are items. */
const SNAPSHOT_AFTER = 10_000;

/** Where {@link fileSystemStorage} keeps items, and how surely. */
export interface FileStorageOptions {
  /** Holds the files of all storage keys; made when it is missing. On a local disk. */
  readonly directory: string;
  /** Accept an item only when it is on the disk: nothing accepted is ever lost, at the cost of an fsync per group of items. Default false. */
  readonly sync?: boolean;
}

/**
 * Keeps items in a directory, a file per key: `<key>.log` begins with a snapshot and goes on with what came after it, one line per change with
 * its own checksum. A new snapshot is written aside, fsynced and renamed into place. One queue at a time per key. Items must be JSON.
 */
export const fileSystemStorage = <T>({ directory, sync = false }: FileStorageOptions): BatchStorage<T> =>
  new FileStorage<T>(directory, sync);

/** States: closed → open → closed; only load and close change them. */
class FileStorage<T> implements BatchStorage<T> {
  readonly kind = 'journal';
  /** What the file says. */
  private readonly items = new Map<number, StoredItem<T>>();
  private path = '';
  private log: FileHandle | undefined;
  private sinceSnapshot = 0;
  private unlock: (() => Promise<void>) | undefined;

  constructor(
    private readonly directory: string,
    readonly sync: boolean,
  ) {}

  async load(key: string): Promise<LoadedState<T>> {
    if (this.unlock) throw new BatchingError('storage-locked', 'a storage serves one queue at a time: make one for each', { key });
    await mkdir(this.directory, { recursive: true });
    this.unlock = await lock(this.directory, key);
    this.path = join(this.directory, `${key}.log`);
    try {
      const damage = await this.read();
      await this.snapshot();
      return { items: [...this.items.values()].sort((one, other) => one.id - other.id), damage };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async append(changes: readonly StorageChange<T>[]): Promise<void> {
    // The line feed in front ends what a write that failed half-way may have left.
    await this.log!.appendFile(`\n${changes.map(encode).join('')}`);
    await this.log!.datasync();
    applyChanges(this.items, changes);
    this.sinceSnapshot += changes.length;
    if (this.sinceSnapshot > Math.max(SNAPSHOT_AFTER, 2 * this.items.size)) await this.snapshot();
  }

  async close(): Promise<void> {
    await this.log?.close();
    this.log = undefined;
    await this.unlock?.();
    this.unlock = undefined;
  }

  /** A crash before the rename leaves the old file, one after it the new: never a part of both (test: "a crash while the log is shortened"). */
  private async snapshot(): Promise<void> {
    const aside = `${this.path}.new`;
    await writeFile(aside, textOf([...this.items.values()]), { flush: true });
    const log = await open(aside, 'a');
    await rename(aside, this.path);
    const directory = await open(this.directory);
    // Not every platform can.
    await directory.sync().catch(() => undefined);
    await directory.close();
    await this.log?.close();
    this.log = log;
    this.sinceSnapshot = 0;
  }

  /** Each line stands for itself: a damaged one costs what it held, and the original is kept beside. */
  private async read(): Promise<StorageDamage[]> {
    const keptAs = `${this.path}.damaged`;
    const damage: StorageDamage[] = [];
    let line = 0;
    this.items.clear();
    const file = await open(this.path, 'a+');
    for await (const text of file.readLines()) {
      const where = `${this.path}:${++line}`;
      const change = decode<T>(text);
      if (change !== undefined) applyChanges(this.items, [change]);
      else if (text !== '') damage.push({ where, bytes: Buffer.byteLength(text), reason: 'the line is cut off or damaged', keptAs });
    }
    if (damage.length > 0) await copyFile(this.path, keptAs);
    return damage;
  }
}

/** In parts, since a write per line is slow and one string has a greatest length. */
function* textOf<T>(items: readonly StoredItem<T>[]): Generator<string> {
  for (let at = 0; at < items.length; at += 1000) {
    const part = items.slice(at, at + 1000);
    yield part.map(encode).join('');
  }
}

function encode<T>(change: StorageChange<T>): string {
  const text = JSON.stringify(change);
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`;
}

function decode<T>(line: string): StorageChange<T> | undefined {
  const text = line.slice(9);
  return Number.parseInt(line.slice(0, 8), 16) === crc32(text) ? (JSON.parse(text) as StorageChange<T>) : undefined;
}
