import type { Heartbeat } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import { LiveWorkers, SHOWN_LOST_MS, SILENT_MS } from './workers.js';

const beat = (worker: string, more: Partial<Heartbeat> = {}): Heartbeat => ({
  ...{ worker, queue: 'q', host: 'h', pid: 1, version: '1', startedAt: 0, at: 0, slots: 2, busy: 0, types: ['t'], running: [] },
  ...more,
});

describe('live workers', () => {
  it('shows a silent worker as lost for a while, then forgets it; one that said farewell goes at once', () => {
    let now = 1000;
    const workers = new LiveWorkers(() => now);
    workers.heard(beat('a'));
    workers.heard(beat('b'));
    workers.heard(beat('b', { stopping: true }));
    expect(workers.list().map(({ worker, state }) => [worker, state])).toEqual([['a', 'live']]);
    now += SILENT_MS + 1;
    workers.heard(beat('c'));
    expect(workers.list().map(({ worker, state }) => [worker, state])).toEqual([
      ['a', 'lost'],
      ['c', 'live'],
    ]);
    expect(workers.alive().map(({ worker }) => worker)).toEqual(['c']);
    expect(workers.silent().map(({ beat }) => beat.worker)).toEqual(['a']);
    now += SHOWN_LOST_MS;
    expect(workers.list().map(({ worker }) => worker)).toEqual(['c']);
  });

  it('takes over what another heard, but never an older word', () => {
    let now = 10_000;
    const workers = new LiveWorkers(() => now);
    workers.heard(beat('a', { busy: 2 }));
    workers.heard(beat('a', { busy: 1 }), 9000);
    workers.heard(beat('lost'), 1000);
    expect(workers.list().map(({ worker, state, busy }) => [worker, state, busy])).toEqual([
      ['a', 'live', 2],
      ['lost', 'lost', 0],
    ]);
    now += 1;
    workers.heard(beat('a', { busy: 0 }));
    expect(workers.get('q', 'a')?.busy).toBe(0);
  });

  it('by queue and name', () => {
    const workers = new LiveWorkers(() => 0);
    for (const [queue, worker] of [
      ['r', 'a'],
      ['q', 'b'],
      ['q', 'a'],
    ] as const)
      workers.heard(beat(worker, { queue }));
    expect(workers.list().map(({ queue, worker }) => queue + worker)).toEqual(['qa', 'qb', 'ra']);
    expect(workers.list('r')).toHaveLength(1);
    expect(workers.get('x', 'a')).toBeUndefined();
  });
});
