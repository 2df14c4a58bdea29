import {
  formatTaskId,
  hopId,
  isQueueName,
  isTaskKey,
  JetlaneError,
  keySource,
  LANES,
  Names,
  parseTaskId,
  TOPOLOGIES,
} from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const queue = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,63}$/);
const key = fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/);
const lane = fc.constantFrom(...LANES);
const namespace = fc
  .oneof(fc.constantFrom('', 'a', 'prod', 'team-1', 'x9', 'workers', 'low'), fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,31}$/))
  .filter(isLegal);
const topology = fc.constantFrom(...TOPOLOGIES);

function isLegal(text: string): boolean {
  try {
    return new Names(text).namespace === text;
  } catch {
    return false;
  }
}

describe('task ids', () => {
  it('come apart as they were put together', () => {
    fc.assert(
      fc.property(queue, key, (q, k) => {
        expect(parseTaskId(formatTaskId(q, k))).toEqual({ queue: q, key: k });
      }),
    );
  });

  it('anything else is refused, with a short message', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          const { queue: q, key: k } = parseTaskId(text);
          expect(formatTaskId(q, k)).toBe(text);
        } catch (error) {
          expect((error as JetlaneError).code).toBe('invalid-argument');
        }
      }),
    );
    for (const text of [
      '',
      '.',
      'q',
      'q.',
      '.k',
      'q.k.l',
      'Q.k',
      'q.k\n',
      'q. k',
      'q.*',
      'q.>',
      '-q.k',
      `${'q'.repeat(65)}.k`,
      `q.${'k'.repeat(129)}`,
    ]) {
      expect(() => parseTaskId(text), text).toThrow(JetlaneError);
    }
    expect(() => parseTaskId('x'.repeat(1_000_000))).toThrow(expect.objectContaining({ message: expect.stringMatching(/^.{0,400}$/) }));
  });

  it('a key fits its message id, and no two hops share one', () => {
    fc.assert(
      fc.property(key, key, fc.integer({ min: 1 }), fc.integer({ min: 1 }), (a, b, m, n) => {
        expect(hopId(a, m) === hopId(b, n)).toBe(a === b && m === n);
      }),
    );
  });
});

describe('key sources', () => {
  it('a million keys of five sources are all different and legal', () => {
    const sources = Array.from({ length: 5 }, keySource);
    const seen = new Set<string>();
    for (let i = 0; i < 200_000; i++) for (const next of sources) seen.add(next());
    expect(seen.size).toBe(1_000_000);
    for (const next of sources) expect(next()).toMatch(/^[A-Za-z0-9_-]{22}$/);
  });

  it('ten thousand sources do not meet', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => keySource()())).size).toBe(10_000);
  });
});

describe('names', () => {
  it('a lane stream tells its queue and its lanes', () => {
    fc.assert(
      fc.property(namespace, topology, queue, lane, (ns, layout, q, l) => {
        const names = new Names(ns, layout);
        const place = names.laneStream(q, l);
        expect(names.parseLaneStream(names.lane(q, l).stream)).toEqual(place);
        expect(place.lanes).toEqual(layout === 'lanes' ? [l] : LANES);
        expect(names.laneStreams(q).flatMap(({ lanes }) => lanes)).toEqual([...LANES]);
      }),
    );
  });

  it('every lane has a stream and a consumer of its own between them, in both topologies', () => {
    fc.assert(
      fc.property(namespace, topology, queue, (ns, layout, q) => {
        const names = new Names(ns, layout);
        expect(new Set(LANES.map((l) => JSON.stringify(names.lane(q, l)))).size).toBe(4);
        expect(names.laneStreams(q).length).toBe(layout === 'lanes' ? 4 : 1);
      }),
    );
    expect(() => new Names('', 'flat' as never)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });

  it('nobody hears of the deliveries that ran out in another installation, however it is laid out', () => {
    const installation = fc.record({ ns: namespace, layout: topology });
    fc.assert(
      fc.property(installation, installation, (a, b) => {
        fc.pre(a.ns !== b.ns);
        const heard = new Set(new Names(a.ns, a.layout).maxDeliveries());
        expect(new Names(b.ns, b.layout).maxDeliveries().filter((subject) => heard.has(subject))).toEqual([]);
      }),
    );
  });

  it('advisories are heard of every lane', () => {
    for (const layout of TOPOLOGIES) {
      const names = new Names('a', layout);
      for (const l of LANES)
        expect(names.maxDeliveries()).toContain(`$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.${names.lane('q', l).consumer}`);
    }
  });

  it('no stream or subject of one installation belongs to another', () => {
    const place = fc.record({ ns: namespace, q: queue, l: lane, k: key });
    fc.assert(
      fc.property(place, place, (a, b) => {
        const [left, right] = [new Names(a.ns), new Names(b.ns)];
        const same = a.ns === b.ns && a.q === b.q && a.l === b.l;
        expect(left.lane(a.q, a.l).stream === right.lane(b.q, b.l).stream).toBe(same);
        expect(left.task(a.q, a.l, a.k) === right.task(b.q, b.l, b.k)).toBe(same && a.k === b.k);
      }),
    );
  });

  it('the tokens of a subject do not depend on the namespace', () => {
    fc.assert(
      fc.property(namespace, queue, lane, key, (ns, q, l, k) => {
        const names = new Names(ns);
        expect(names.tokens(names.task(q, l, k))).toEqual([q, l, k]);
        expect(names.tokens(names.state(q, k))).toEqual([q, k]);
      }),
    );
  });

  it('a namespace that would mix with our own subjects is refused', () => {
    for (const wrong of [
      'tasks',
      'schedules',
      'due',
      'states',
      'dead',
      'metrics',
      'heartbeats',
      'svc',
      'a.b',
      'a_b',
      'A',
      '*',
      '>',
      ' ',
      'x'.repeat(33),
    ]) {
      expect(() => new Names(wrong), wrong).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    }
  });

  it('no legal queue or key reaches beyond its own token', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (isQueueName(text) || isTaskKey(text)) expect(text).not.toMatch(/[.*>\s]/);
      }),
    );
  });
});
