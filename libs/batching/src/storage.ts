/** One accepted item as a storage keeps it. */
export interface StoredItem<T> {
  /** Unique within the storage key; rises with acceptance. */
  readonly id: number;
  readonly priority: number;
  /** Attempts so far. */
  readonly attempts: number;
  readonly item: T;
  /** Why it was given up; such an item is a dead letter. */
  readonly dead?: string;
}

/** An item as it is now (new, or in place of the one of this id), or the id of one that is gone. */
export type StorageChange<T> = StoredItem<T> | number;

/** Something that could not be read back. The rest was read. */
export interface StorageDamage {
  readonly where: string;
  readonly bytes: number;
  readonly reason: string;
  /** Where the damaged original is kept, if it is. */
  readonly keptAs?: string;
}

/** What the last writer of a key left: its items in their order, and what could not be read. */
export interface LoadedState<T> {
  readonly items: readonly StoredItem<T>[];
  readonly damage: readonly StorageDamage[];
}

/**
 * Keeps a queue's items for the next process. Write one of your own against this: calls come one after the other, `load` first.
 * A crash may cut off the end of what was appended and not resolved, never the middle.
 */
export interface BatchStorage<T> {
  readonly kind: 'journal';
  /** True: the queue accepts an item only when `append` has resolved. Otherwise it appends within every `saveInterval`. */
  readonly sync?: boolean;
  /** Opens the key for one writer, and gives back what the last one left. */
  load(key: string): Promise<LoadedState<T>>;
  /** Resolves when the changes would survive a crash. */
  append(changes: readonly StorageChange<T>[]): Promise<void>;
  /** Gives the key free for the next writer. Nothing is called after it but `load`. */
  close(): Promise<void>;
}

/** An accepted item. */
export interface BatchHandle<R = void> {
  readonly id: number | string;
  readonly priority: number;
  /** Settles with the item's value, or an ItemFailedError or another BatchingError. May be ignored: it never goes unhandled. */
  readonly result: Promise<R>;
}

/** Keeps items in this object: a second queue on it takes over where the first was closed. For tests. */
export function memoryStorage<T>(): BatchStorage<T> {
  const items = new Map<number, StoredItem<T>>();
  return {
    kind: 'journal',
    load: async () => ({ items: [...items.values()], damage: [] }),
    append: async (changes) => applyChanges(items, changes),
    close: async () => undefined,
  };
}

/** Brings a table of items up to date. */
export function applyChanges<T>(items: Map<number, StoredItem<T>>, changes: readonly StorageChange<T>[]): void {
  for (const change of changes) {
    if (typeof change === 'number') items.delete(change);
    else items.set(change.id, change);
  }
}
