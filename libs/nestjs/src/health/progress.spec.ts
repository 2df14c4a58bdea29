import type { ConsumerState } from '@jetlane/jetstream';
import { describe, expect, it } from 'vitest';
import { type LaneLook, ProgressMemory } from './progress.js';

const consumer: ConsumerState = {
  ackPending: 0,
  pending: 5,
  redelivered: 0,
  maxAckPending: 100,
  openPulls: 1,
  paused: false,
  deliveredSequence: 10,
  ackFloor: 10,
  createdAt: 0,
  leader: '',
  backoffMs: [],
  maxDeliveries: 10,
};
const look = (changes: Partial<ConsumerState> = {}, freeSlots = 1): LaneLook => ({
  queue: 'q',
  lane: 'high',
  freeSlots,
  consumer: { ...consumer, ...changes },
});

describe('ProgressMemory', () => {
  it('counts from the first look at work that nobody brings', () => {
    const memory = new ProgressMemory();
    expect([0, 3000, 6000].map((now) => memory.stalledFor(look(), now))).toEqual([0, 3000, 6000]);
  });

  it.each([
    ['a delivery', look({ deliveredSequence: 11 })],
    ['an empty lane', look({ pending: 0 })],
    ['a pause', look({ paused: true })],
    ['too much unacknowledged', look({ ackPending: 100 })],
    ['no free slot', look({}, 0)],
    ['a missing consumer, which is another problem', { ...look(), consumer: undefined }],
  ])('begins anew after %s', (_, between) => {
    const memory = new ProgressMemory();
    memory.stalledFor(look(), 0);
    expect(memory.stalledFor(between, 6000)).toBe(0);
    expect(memory.stalledFor(look(), 7000)).toBe(0);
    expect(memory.stalledFor(look(), 9000)).toBe(2000);
  });

  it('knows each lane of each queue by itself', () => {
    const memory = new ProgressMemory();
    memory.stalledFor(look(), 0);
    expect(memory.stalledFor({ ...look(), lane: 'low' }, 6000)).toBe(0);
    expect(memory.stalledFor({ ...look(), queue: 'r' }, 6000)).toBe(0);
    expect(memory.stalledFor(look(), 6000)).toBe(6000);
  });
});
