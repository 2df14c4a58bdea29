import { type Claimant, fairShares } from '@jetlane/protocol';

/** How often a worker writes what it claims, in ms. */
export const BEAT_MS = 1000;
/** A worker that was not heard for this long has lost its claims. */
export const DEAD_MS = 1900;
/** A worker whose last proven entry was sent longer ago starts nothing: others will soon count it as dead. */
export const FENCE_MS = 1600;
/** Entries of members that are gone for so long are forgotten. */
const FORGET_MS = 60_000;
const EPSILON = 1e-9;

/** What a worker claims of the limits that it shares with others. */
export interface ShareEntry {
  /** Counts the entries of one worker, so that it knows its own again. */
  readonly n: number;
  /** Per limit: what it claims, and what it could use. */
  readonly claims: Readonly<Record<string, readonly [claim: number, wants: number]>>;
  /** Starts that its share of the queue's rate would have allowed, since its beginning, and that it did not need. */
  readonly spare?: number;
  /** It has stopped. */
  readonly gone?: boolean;
}

/** The owner of a limit, as the share sees it. */
export interface ShareUse {
  /** What could be used until the next beat. */
  readonly wants: (now: number) => number;
  /** What is in use and cannot be given back before it ends. */
  readonly inUse: () => number;
}

/** One limit that the workers of a queue keep together, and this worker's part of it. Changed by its {@link ShareKeeper} and by whoever sets `total`. */
export class SharedLimit {
  /** What may be used. What is published as a claim is never less. */
  cap = 0;

  constructor(
    private readonly keeper: ShareKeeper,
    /** The whole limit. */
    public total: number,
    /** Dealt out in whole numbers; what nobody wants is dealt out too. */
    readonly dealing: { readonly whole: boolean; readonly spread: boolean },
    readonly use: ShareUse,
  ) {}

  /** What may be used now. */
  granted(now: number): number {
    return this.keeper.proven(now) ? this.cap : 0;
  }
}

interface Member {
  entry: ShareEntry;
  seenAt: number;
}

/**
 * Deals limits out among workers that see one another's entries in one and the same order, that of their stream. It does no
 * I/O: `next` gives the entry to write, `observed` takes what the stream brings. All times are readings of the local monotonic
 * clock; no two clocks are ever compared.
 *
 * Why the sum of what is used never exceeds a limit: whoever shrinks does so before it writes the smaller claim; whoever grows
 * writes the larger claim first and uses it only if, when its own entry comes back, all claims up to there fit into the limit.
 * Whoever came later in the order has this claim in its sum. A worker that has not seen an entry of its own for 1.6 s since
 * sending it uses nothing; only after 1.9 s without a sign, counted to the moment at which they sent, do others stop counting
 * its claim. What such a worker still runs then is beyond the limit until it ends: nobody can take it back.
 */
export class ShareKeeper {
  private readonly limits = new Map<string, SharedLimit>();
  private readonly members = new Map<string, Member>();
  private pending: { entry: ShareEntry; sentAt: number; aims: ReadonlyMap<string, number> } | undefined;
  private provenAt = Number.NEGATIVE_INFINITY;
  private count = 0;

  /** @param self names this worker, from this start on: an older self is somebody else */
  constructor(readonly self: string) {}

  /** True while an entry is under way. */
  get waiting(): boolean {
    return this.pending !== undefined;
  }

  /** When the entry that is under way was sent. */
  get sentAt(): number {
    return this.pending?.sentAt ?? Number.POSITIVE_INFINITY;
  }

  add(id: string, total: number, dealing: SharedLimit['dealing'], use: ShareUse): SharedLimit {
    const limit = new SharedLimit(this, total, dealing, use);
    this.limits.set(id, limit);
    return limit;
  }

  /** Gives a limit up: the next entry does not claim it any more. Whoever used it must have ended. */
  remove(id: string): void {
    this.limits.delete(id);
  }

  /** False while others may count this worker as dead. */
  proven(now: number): boolean {
    return now - this.provenAt <= FENCE_MS;
  }

  /** What no other worker claims of a limit. */
  free(id: string, now: number, total: number): number {
    return this.others(now).reduce((left, { entry }) => left - (entry.claims[id]?.[0] ?? 0), total);
  }

  /** True when another worker claims a part of a limit. */
  claimedElsewhere(id: string, now: number): boolean {
    return this.others(now).some(({ entry }) => (entry.claims[id]?.[0] ?? 0) > 0);
  }

  /** How many of the others could use all of a limit. */
  hungryOthers(id: string, now: number, total: number): number {
    return this.others(now).filter(({ entry }) => (entry.claims[id]?.[1] ?? 0) >= total - EPSILON).length;
  }

  /** The entry to write now. What it gives up is given up from this call on. */
  next(now: number, spare = 0): ShareEntry {
    for (const [id, { seenAt }] of this.members) if (now - seenAt > FORGET_MS) this.members.delete(id);
    const claims: Record<string, readonly [number, number]> = {};
    const aims = new Map<string, number>();
    for (const [id, limit] of this.limits) {
      const { claim, wants, aim } = this.claim(id, limit, now);
      claims[id] = [claim, wants];
      aims.set(id, aim);
    }
    const entry = { n: ++this.count, claims, ...(spare > 0 ? { spare: round(spare) } : {}) };
    this.pending = { entry, sentAt: now, aims };
    return entry;
  }

  /** The entry that was under way is not stored, or nobody knows. */
  lost(): void {
    this.pending = undefined;
  }

  /**
   * An entry of the stream, in its order; `undefined` when it is gone.
   * @returns the starts that the other worker could have made since its last entry and did not need
   */
  observed(member: string, entry: ShareEntry | undefined, now: number): number {
    if (member === this.self) {
      if (entry !== undefined && entry.n === this.pending?.entry.n) this.confirm(now);
      return 0;
    }
    const known = this.members.get(member);
    if (entry === undefined || entry.gone) this.members.delete(member);
    else this.members.set(member, { entry, seenAt: now });
    return known && entry ? Math.max(0, (entry.spare ?? 0) - (known.entry.spare ?? 0)) : 0;
  }

  /** What to claim, and what may be used of it once the claim is proven: less, while what is in use runs out. */
  private claim(id: string, limit: SharedLimit, now: number): { claim: number; wants: number; aim: number } {
    const { total, dealing, use } = limit;
    const wants = use.wants(now);
    const claimants: (Claimant & { readonly id: string })[] = [{ id: this.self, wants, holds: limit.cap }];
    let taken = 0;
    for (const { id: other, entry } of this.others(now)) {
      const claim = entry.claims[id];
      if (!claim) continue;
      claimants.push({ id: other, wants: claim[1], holds: claim[0] });
      taken += claim[0];
    }
    claimants.sort((a, b) => (a.id < b.id ? -1 : 1));
    const mine = claimants.findIndex((claimant) => claimant.id === this.self);
    // Who is idle keeps what it has until somebody asks for it: its next task then starts at once.
    const idle = !dealing.spread && claimants.every((claimant) => claimant.wants === 0);
    const target = idle ? limit.cap : fairShares({ total, ...dealing }, claimants)[mine]!;
    limit.cap = Math.min(limit.cap, target);
    const kept = Math.max(limit.cap, use.inUse());
    const grown = Math.max(kept, Math.min(target, total - taken));
    const claim = dealing.whole ? grown : Math.max(kept, round(grown));
    return { claim, wants: dealing.whole ? wants : round(wants), aim: Math.min(target, claim) };
  }

  /** Our entry has come back: all that was written before it has been seen. */
  private confirm(now: number): void {
    const { entry, sentAt, aims } = this.pending!;
    this.pending = undefined;
    if (!this.proven(now)) for (const limit of this.limits.values()) limit.cap = 0;
    this.provenAt = sentAt;
    const others = this.others(sentAt);
    for (const [id, limit] of this.limits) {
      const claim = entry.claims[id]?.[0] ?? 0;
      const aim = aims.get(id) ?? 0;
      if (aim <= limit.cap) continue;
      const taken = others.reduce((sum, other) => sum + (other.entry.claims[id]?.[0] ?? 0), 0);
      if (taken + claim <= limit.total + EPSILON) limit.cap = aim;
    }
  }

  /** Who counts at a moment. A sign of life that came after it counts as well. */
  private others(at: number): { readonly id: string; readonly entry: ShareEntry }[] {
    return [...this.members].filter(([, { seenAt }]) => at - seenAt <= DEAD_MS).map(([id, { entry }]) => ({ id, entry }));
  }
}

/** Short enough to write down, and never more than it was. */
const round = (value: number): number => Math.floor(value * 1e6) / 1e6;
