interface Entry<T> {
  readonly value: T;
  usedAt: number;
}

/**
 * Remembers something about names that strangers may make up: at most so many, of which the one that was asked for longest ago goes first.
 * What was asked for within `keepMs` never goes; a new name then finds no room.
 */
export class RecentNames<T> {
  /** In the order of their last use. */
  private readonly entries = new Map<string, Entry<T>>();

  constructor(
    private readonly most: number,
    private readonly make: () => T,
    private readonly keepMs = 0,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  /** Whether the name is remembered. */
  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** What is remembered of a name, made if need be; `undefined` when there is no room. */
  of(name: string, now = performance.now()): T | undefined {
    let entry = this.entries.get(name);
    if (entry) this.entries.delete(name);
    else if (this.makeRoom(now)) entry = { value: this.make(), usedAt: now };
    else return undefined;
    entry.usedAt = now;
    this.entries.set(name, entry);
    return entry.value;
  }

  private makeRoom(now: number): boolean {
    if (this.entries.size < this.most) return true;
    for (const [name, { usedAt }] of this.entries) {
      return now - usedAt >= this.keepMs && this.entries.delete(name);
    }
    return false;
  }
}
