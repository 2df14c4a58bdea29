import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BEAT_MS, DEAD_MS, type SharedLimit, type ShareEntry, ShareKeeper } from './shares.js';

/** A worker of the simulation: it reads the log at its own pace, has a clock of its own, and may be cut off or stand still. */
class Peer {
  readonly keeper: ShareKeeper;
  readonly limit: SharedLimit;
  running = 0;
  wants = 0;
  position = 0;
  alive = true;
  cutOff = false;
  nextBeat: number;

  constructor(
    readonly id: string,
    total: number,
    private readonly clockOffset: number,
    firstBeat: number,
  ) {
    this.keeper = new ShareKeeper(id);
    this.nextBeat = firstBeat;
    this.limit = this.keeper.add('c', total, { whole: true, spread: true }, { wants: () => this.wants, inUse: () => this.running });
  }

  local(now: number): number {
    return now + this.clockOffset;
  }

  /** Starts as many as it may. */
  work(now: number, ends: number): void {
    this.running -= Math.min(ends, this.running);
    const most = Math.min(this.wants, this.limit.granted(this.local(now)));
    this.running = Math.max(this.running, most);
  }
}

interface Write {
  readonly from: Peer;
  readonly entry: ShareEntry;
  /** When it reaches the log. */
  readonly at: number;
}

const event = fc.record({
  peer: fc.nat(3),
  kind: fc.constantFrom('read', 'read', 'read', 'beat', 'beat', 'work', 'work', 'want', 'cut', 'mend'),
  value: fc.nat(12),
  step: fc.oneof({ weight: 8, arbitrary: fc.nat(250) }, { weight: 1, arbitrary: fc.nat(2500) }),
});

describe('shares of a concurrency limit', () => {
  it('are never used beyond the limit, whoever is slow, cut off or takes up again, in any interleaving', () => {
    let grown = 0;
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 60, maxLength: 300 }),
        fc.integer({ min: 1, max: 10 }),
        fc.array(fc.integer({ min: -1e6, max: 1e6 }), { minLength: 4, maxLength: 4 }),
        (events, total, offsets) => {
          const peers = offsets.map((offset, i) => new Peer(`w${i}`, total, offset, 0));
          const log: Write[] = [];
          let flying: Write[] = [];
          let now = 0;
          const read = (peer: Peer, most: number): void => {
            while (!peer.cutOff && peer.position < log.length && most-- > 0) {
              const { from, entry } = log[peer.position++]!;
              peer.keeper.observed(from.id, entry, peer.local(now));
            }
          };
          // What a worker that is taken for dead still runs is beyond the limit; what may be started is not.
          const usable = () => peers.reduce((sum, peer) => sum + peer.limit.granted(peer.local(now)), 0);
          for (const { peer: index, kind, value, step } of events) {
            const peer = peers[index]!;
            now += step;
            const landed = flying.filter((write) => write.at <= now);
            flying = flying.filter((write) => write.at > now);
            log.push(...landed.sort((a, b) => a.at - b.at));
            if (kind === 'read') read(peer, value + 1);
            else if (kind === 'beat' && !peer.cutOff && !peer.keeper.waiting)
              flying.push({ from: peer, entry: peer.keeper.next(peer.local(now)), at: now + value * 40 });
            else if (kind === 'work') peer.work(now, value);
            else if (kind === 'want') peer.wants = value;
            else if (kind === 'cut') peer.cutOff = true;
            else if (kind === 'mend') peer.cutOff = false;
            expect(usable()).toBeLessThanOrEqual(total);
            grown += usable() > 0 ? 1 : 0;
          }
        },
      ),
      { numRuns: 600 },
    );
    // A keeper that never grants anything would pass too.
    expect(grown).toBeGreaterThan(400);
  });

  it('what runs stays within the limit too, as long as everybody is heard in time', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 50, maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (events, total) => {
        const peers = [0, 1, 2].map((i) => new Peer(`w${i}`, total, i * 1000, i * 300));
        const log: Write[] = [];
        let now = 0;
        for (const { peer: index, kind, value, step } of events) {
          now += step % 200;
          for (const peer of peers) {
            if (now < peer.nextBeat) continue;
            peer.nextBeat = now + BEAT_MS;
            if (!peer.keeper.waiting) log.push({ from: peer, entry: peer.keeper.next(peer.local(now)), at: now });
          }
          const chosen = peers[index % 3]!;
          for (const peer of peers) {
            const behind = peer === chosen && kind === 'read' ? value : 0;
            while (peer.position < log.length - behind) {
              const { from, entry } = log[peer.position++]!;
              peer.keeper.observed(from.id, entry, peer.local(now));
            }
          }
          if (kind === 'want') chosen.wants = value;
          else chosen.work(now, value % 3);
          expect(peers.reduce((sum, peer) => sum + peer.running, 0)).toBeLessThanOrEqual(total);
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** Beats of all workers, each seen by all at once, for so many seconds. */
function run(peers: readonly Peer[], seconds: number, from = 0): number {
  let now = from;
  for (let i = 0; i < seconds * 10; i++) {
    now += 100;
    peers.forEach((peer, k) => {
      if (!peer.alive || i % 10 !== k) return;
      const entry = peer.keeper.next(peer.local(now));
      for (const other of peers) if (other.alive) other.keeper.observed(peer.id, entry, other.local(now));
    });
    for (const peer of peers) if (peer.alive) peer.work(now, 99);
  }
  return now;
}

const peersOf = (count: number, total: number) => Array.from({ length: count }, (_, i) => new Peer(`w${i}`, total, i * 77, 0));
const caps = (peers: readonly Peer[]) => peers.map(({ limit }) => limit.cap);

/** One worker that has a proven claim on all of it, and a second one that wants some. */
function pair() {
  const [holder, heir] = [new Peer('a', 4, 0, 0), new Peer('b', 4, 0, 0)];
  const log: Write[] = [];
  const write = (from: Peer, at: number) => log.push({ from, entry: from.keeper.next(at), at });
  const read = (peer: Peer, at: number) => {
    for (; peer.position < log.length; peer.position++) peer.keeper.observed(log[peer.position]!.from.id, log[peer.position]!.entry, at);
  };
  holder.wants = 4;
  write(holder, 0);
  read(holder, 1);
  read(heir, 1);
  heir.wants = 4;
  const used = (at: number) => holder.limit.granted(at) + heir.limit.granted(at);
  return { holder, heir, write, read, used };
}

describe('a worker that is nearly taken for dead', () => {
  it('keeps its share when its sign of life comes first in the order, however late the other reads', () => {
    const { holder, heir, write, read, used } = pair();
    write(holder, 1500);
    write(heir, 1600);
    read(holder, 1601);
    read(heir, 3550);
    expect(used(3000)).toBe(4);
    expect(heir.limit.cap).toBe(0);
  });

  it('stops before anybody else may take its share', () => {
    const { holder, heir, write, read, used } = pair();
    expect(holder.limit.granted(1500)).toBe(4);
    for (const sent of [1000, 2000]) {
      write(heir, sent);
      read(heir, sent + 1);
    }
    expect(heir.limit.granted(2001)).toBe(4);
    expect(used(2001)).toBe(4);
  });
});

describe('shares', () => {
  it('are dealt out evenly among the idle, and go to whoever needs them within three beats', () => {
    const peers = peersOf(3, 9);
    const now = run(peers, 3);
    expect(caps(peers)).toEqual([3, 3, 3]);
    peers[0]!.wants = 20;
    run(peers, 3, now);
    expect(caps(peers)).toEqual([9, 0, 0]);
  });

  it('of a dead worker return within 3 s', () => {
    const peers = peersOf(3, 9);
    for (const peer of peers) peer.wants = 9;
    const now = run(peers, 5);
    expect(caps(peers)).toEqual([3, 3, 3]);
    peers[1]!.alive = false;
    run(peers, 3, now);
    expect(peers[0]!.limit.cap + peers[2]!.limit.cap).toBe(9);
    expect(DEAD_MS + BEAT_MS).toBeLessThan(3000);
  });

  it('of a worker that says good-bye are free at once', () => {
    const peers = peersOf(2, 4);
    const now = run(peers, 3);
    peers[1]!.alive = false;
    peers[0]!.keeper.observed('w1', { n: 99, claims: {}, gone: true }, peers[0]!.local(now));
    run(peers, 1, now);
    expect(peers[0]!.limit.cap).toBe(4);
  });

  it('a limit that is lowered is kept as soon as what runs beyond it has ended', () => {
    const peers = peersOf(2, 10);
    for (const peer of peers) peer.wants = 10;
    let now = run(peers, 5);
    expect(caps(peers)).toEqual([5, 5]);
    for (const peer of peers) peer.limit.total = 3;
    now = run(peers, 1, now);
    expect(caps(peers)[0]! + caps(peers)[1]!).toBeLessThanOrEqual(3);
    for (const peer of peers) peer.running = 0;
    run(peers, 3, now);
    expect(caps(peers).sort()).toEqual([1, 2]);
  });
});
