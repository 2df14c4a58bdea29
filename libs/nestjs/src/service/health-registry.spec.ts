import { describe, expect, it, vi } from 'vitest';
import { HealthRegistry } from './health-registry.js';

describe('HealthRegistry', () => {
  it('runs checks by name and forgets removed ones', async () => {
    const health = new HealthRegistry();
    const remove = health.add('nats', () => ({ up: true, state: 'connected' }));
    expect(health.names()).toEqual(['nats']);
    expect(await health.run('nats')).toEqual({ up: true, state: 'connected' });
    remove();
    expect(health.names()).toEqual([]);
  });

  it('takes a check that throws for down, with the reason', async () => {
    const health = new HealthRegistry();
    health.add('a', () => {
      throw new Error('sync');
    });
    health.add('b', () => Promise.reject(new Error('async')));
    expect(await health.run('a')).toEqual({ up: false, message: 'sync' });
    expect(await health.run('b')).toEqual({ up: false, message: 'async' });
  });

  it('takes a check that does not answer for down', async () => {
    vi.useFakeTimers();
    try {
      const health = new HealthRegistry();
      health.add('slow', () => new Promise(() => undefined));
      const report = health.run('slow');
      await vi.advanceTimersByTimeAsync(3000);
      expect(await report).toMatchObject({ up: false, message: expect.stringContaining('3000 ms') });
    } finally {
      vi.useRealTimers();
    }
  });
});
