import { copyFile, type FileHandle, mkdir, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { lock } from './file-lock.js';
import { applyChanges, type BatchStorage, type LoadedState, type StorageChange, type StorageDamage, type StoredItem } from './storage.js';

export interface FileStorageOptions {
  /** Holds the files of all storage keys; made when it is missing. On a local disk. */
  readonly directory: string;
  /** Accept an item only when it is on the disk: nothing accepted is ever lost, at the cost of an fsync per group of items. Default false. */
  readonly sync?: boolean;
}

/**
 * Keeps items in a directory: `<key>.snapshot`, and in `<key>.log` what came after it, one line per change with its own checksum.
 * A new snapshot is written aside, fsynced and renamed into place, then the log is emptied. One queue at a time per key. Items must be JSON.
 */
export function fileSystemStorage<T>(options: FileStorageOptions): BatchStorage<T> {
  return new FileStorage<T>(options);
}

/** States: closed → open → closed; only load and close change them. */
class FileStorage<T> implements BatchStorage<T> {
  readonly kind = 'journal';
  readonly sync: boolean;
  private readonly directory: string;
  private key = '';
  private log: FileHandle | undefined;
  private unlock: (() => Promise<void>) | undefined;

  constructor({ directory, sync = false }: FileStorageOptions) {
    this.directory = directory;
    this.sync = sync;
  }

  async load(key: string): Promise<LoadedState<T>> {
    await mkdir(this.directory, { recursive: true });
    this.key = key;
    this.unlock = await lock(this.directory, key);
    try {
      const items = new Map<number, StoredItem<T>>();
      const damage = [...(await this.read('snapshot', items)), ...(await this.read('log', items))];
      this.log = await open(this.path('log'), 'a');
      const state = { items: [...items.values()].sort((one, other) => one.id - other.id), damage };
      await this.replace(state.items);
      return state;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async append(changes: readonly StorageChange<T>[]): Promise<void> {
    // The line feed in front ends what a write that failed half-way may have left.
    await this.log!.appendFile(`\n${changes.map(encode).join('')}`);
    await this.log!.datasync();
  }

  /**
   * A crash before the rename leaves the old snapshot with its log; one after it the new snapshot with that log, which changes nothing but
   * to bring back what was settled since its last line (test: "a crash between a new snapshot and the emptying of the log").
   */
  async replace(items: readonly StoredItem<T>[]): Promise<void> {
    const aside = this.path('snapshot.new');
    await writeFile(aside, textOf(items), { flush: true });
    await rename(aside, this.path('snapshot'));
    const directory = await open(this.directory);
    // Not every platform can.
    await directory.sync().catch(() => undefined);
    await directory.close();
    await this.log!.truncate();
    await this.log!.datasync();
  }

  async close(): Promise<void> {
    await this.log?.close();
    this.log = undefined;
    await this.unlock?.();
    this.unlock = undefined;
  }

  private path(suffix: string): string {
    return join(this.directory, `${this.key}.${suffix}`);
  }

  /** Each line stands for itself: a damaged one costs what it held, and the original is kept beside. */
  private async read(suffix: string, items: Map<number, StoredItem<T>>): Promise<StorageDamage[]> {
    const path = this.path(suffix);
    const file = await open(path, 'a+');
    const bad: { line: number; bytes: number }[] = [];
    let line = 0;
    for await (const text of file.readLines()) {
      line++;
      const change = decode<T>(text);
      if (change !== undefined) applyChanges(items, [change]);
      else if (text !== '') bad.push({ line, bytes: Buffer.byteLength(text) });
    }
    const keptAs = `${path}.damaged`;
    if (bad.length > 0) await copyFile(path, keptAs);
    const reason = (at: number) => (at === line ? 'the last line is cut off or damaged' : 'the line is damaged');
    return bad.map(({ line: at, bytes }) => ({ where: `${path}:${at}`, bytes, reason: reason(at), keptAs }));
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
