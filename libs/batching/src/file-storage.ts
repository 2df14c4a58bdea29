import { copyFile, type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { lockFile } from './file-lock.js';
import { applyChanges, type BatchStorage, type LoadedState, type StorageChange, type StorageDamage, type StoredItem } from './storage.js';

export interface FileStorageOptions {
  /** Holds the files of all storage keys; made when it is missing. On a local disk. */
  readonly directory: string;
  /** Accept an item only when it is on the disk: nothing accepted is ever lost, at the cost of an fsync per group of items. Default false. */
  readonly sync?: boolean;
}

/**
 * Keeps items in a directory: a snapshot and a log of what came after it, one line per change with its own checksum.
 * `<key>.<n>.log` holds what came after `<key>.<n>.snapshot`; a new snapshot is written aside, fsynced and renamed into place.
 * One process at a time per key. Items must be JSON.
 */
export function fileSystemStorage<T>(options: FileStorageOptions): BatchStorage<T> {
  return new FileStorage<T>(options);
}

/** States: closed → open → closed; only load and close change them. */
class FileStorage<T> implements BatchStorage<T> {
  readonly kind = 'journal';
  readonly sync: boolean;
  private key = '';
  private generation = 0;
  private log: FileHandle | undefined;
  private unlock: (() => Promise<void>) | undefined;

  constructor(private readonly options: FileStorageOptions) {
    this.sync = options.sync ?? false;
  }

  async load(key: string): Promise<LoadedState<T>> {
    await mkdir(this.options.directory, { recursive: true });
    this.key = key;
    this.unlock = await lockFile(this.path('lock'));
    try {
      const state = await this.read();
      await this.replace(state.items);
      return state;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async append(changes: readonly StorageChange<T>[]): Promise<void> {
    // The line feed in front ends what a write that failed half-way may have left.
    await this.log!.appendFile(`\n${changes.map(encode).join('\n')}\n`);
    await this.log!.datasync();
  }

  /** A crash before the rename finds the old snapshot and both logs; after it, the new snapshot and its log. */
  async replace(items: readonly StoredItem<T>[]): Promise<void> {
    const old = this.generation++;
    const log = await open(this.path(`${this.generation}.log`), 'a');
    await this.log?.close();
    this.log = log;
    const aside = this.path('snapshot.new');
    const file = await open(aside, 'w');
    try {
      for (let at = 0; at < items.length; at += 1000)
        await file.appendFile(
          `${items
            .slice(at, at + 1000)
            .map(encode)
            .join('\n')}\n`,
        );
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, this.path(`${this.generation}.snapshot`));
    await this.syncDirectory();
    for (const { name, generation } of await this.files())
      if (generation <= old) await rm(join(this.options.directory, name), { force: true });
  }

  async close(): Promise<void> {
    await this.log?.close();
    this.log = undefined;
    await this.unlock?.();
    this.unlock = undefined;
  }

  private path(suffix: string): string {
    return join(this.options.directory, `${this.key}.${suffix}`);
  }

  /** Our snapshots and logs, in the order in which they are read. */
  private async files() {
    const found = (await readdir(this.options.directory)).flatMap((name) => {
      const [, number, kind] = (name.startsWith(`${this.key}.`) && /^(\d+)\.(snapshot|log)$/.exec(name.slice(this.key.length + 1))) || [];
      return kind ? [{ name, kind, generation: Number(number) }] : [];
    });
    return found.sort((one, other) => one.generation - other.generation || other.kind.localeCompare(one.kind));
  }

  private async read(): Promise<{ items: StoredItem<T>[]; damage: StorageDamage[] }> {
    const items = new Map<number, StoredItem<T>>();
    const damage: StorageDamage[] = [];
    const files = await this.files();
    const start = files.findLastIndex(({ kind }) => kind === 'snapshot');
    for (const { name, generation } of files.slice(Math.max(0, start))) {
      this.generation = Math.max(this.generation, generation);
      await this.readFile(name, items, damage);
    }
    return { items: [...items.values()].sort((one, other) => one.id - other.id), damage };
  }

  /** Each line stands for itself: a damaged one costs what it held, and the original is kept beside. */
  private async readFile(name: string, items: Map<number, StoredItem<T>>, damage: StorageDamage[]): Promise<void> {
    const path = join(this.options.directory, name);
    const file = await open(path);
    let line = 0;
    const bad: { line: number; bytes: number }[] = [];
    for await (const text of file.readLines()) {
      line++;
      if (text === '') continue;
      const change = decode<T>(text);
      if (change === undefined) bad.push({ line, bytes: Buffer.byteLength(text) });
      else applyChanges(items, [change]);
    }
    if (bad.length === 0) return;
    const keptAs = `${path}.damaged`;
    await copyFile(path, keptAs);
    for (const { line: at, bytes } of bad) {
      const reason = at === line ? 'the last line is cut off or damaged' : 'the line is damaged';
      damage.push({ where: `${path}:${at}`, bytes, reason, keptAs });
    }
  }

  private async syncDirectory(): Promise<void> {
    const directory = await open(this.options.directory);
    // Not every platform can.
    await directory.sync().catch(() => undefined);
    await directory.close();
  }
}

function encode<T>(change: StorageChange<T>): string {
  const text = JSON.stringify(change);
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}`;
}

function decode<T>(line: string): StorageChange<T> | undefined {
  const text = line.slice(9);
  return Number.parseInt(line.slice(0, 8), 16) === crc32(text) ? (JSON.parse(text) as StorageChange<T>) : undefined;
}
