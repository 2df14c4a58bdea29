import { describe, expect, it } from 'vitest';
import { AUDIT_COMMANDS } from './audit.js';
import { COMMANDS } from './index.js';
import { STEERING_COMMANDS } from './steering.js';

describe('commands', () => {
  it('have names and routes of their own, and paths that name fields of their input', () => {
    expect(new Set(COMMANDS.map(({ name }) => name)).size).toBe(COMMANDS.length);
    expect(new Set(COMMANDS.map(({ http }) => `${http.method} ${http.path}`)).size).toBe(COMMANDS.length);
    for (const { http, input } of COMMANDS)
      for (const [, field] of http.path.matchAll(/\{(\w+)\}/g)) expect(Object.keys(input.shape)).toContain(field);
  });

  it('read queries, whose values are text', () => {
    expect(AUDIT_COMMANDS.list.input.parse({ limit: '5', before: '7', from: '2026-01-01T00:00:00Z', to: '9' })).toEqual({
      ...{ limit: 5, before: 7, from: Date.UTC(2026, 0), to: 9 },
    });
    expect(AUDIT_COMMANDS.list.input.parse({})).toEqual({ limit: 100 });
  });

  it.each([
    ['queue', { queue: 'No' }],
    ['for', { queue: 'q', for: '0s' }],
    ['reason', { queue: 'q', reason: 'x'.repeat(501) }],
  ])('refuse a %s that is none', (_, input) => {
    expect(STEERING_COMMANDS.pause.input.safeParse(input).success).toBe(false);
  });

  it.each([{ rate: 0 }, { rate: 1e9 }, { ids: [] }, { olderThan: -1 }, { all: false }, { lane: 'highest' }])(
    'refuse a selection of %j',
    (over) => {
      expect(STEERING_COMMANDS.purge.input.safeParse({ queue: 'q', ...over }).success).toBe(false);
    },
  );
});
