import { describe, expect, it } from 'vitest';
import { queueManagerConfig } from './config.js';

describe('queueManagerConfig', () => {
  it('fills in defaults, and reads thresholds in ms or as durations', () => {
    expect(queueManagerConfig({})).toMatchObject({ sla: { warningMs: 10_000, criticalMs: 30_000 }, queuesFile: undefined });
    expect(queueManagerConfig({ SLA_WARNING_THRESHOLD: '5s', SLA_CRITICAL_THRESHOLD: '20000' }).sla).toEqual({
      warningMs: 5000,
      criticalMs: 20_000,
    });
    expect(() => queueManagerConfig({ SLA_WARNING_THRESHOLD: '40s' })).toThrow(/SLA_WARNING_THRESHOLD: expected to be at most/);
    expect(() => queueManagerConfig({ SLA_CRITICAL_THRESHOLD: 'soon' })).toThrow(/SLA_CRITICAL_THRESHOLD/);
  });

  it('names the successors of variables of a system on Redis', () => {
    const { notices } = queueManagerConfig({ REDIS_POOL_ENABLED: 'true', REDIS_POOL_MAX: '9', REDIS_POOL_MIN_CONNECTIONS: '2' });
    expect(notices).toEqual([
      expect.stringMatching(/^REDIS_POOL_ENABLED .* use NATS_POOL_ENABLED instead/),
      expect.stringMatching(/^REDIS_POOL_MAX .* use NATS_POOL_MAX_CONNECTIONS instead/),
      expect.stringMatching(/^REDIS_POOL_MIN_CONNECTIONS .* use NATS_POOL_MIN_CONNECTIONS instead/),
    ]);
  });

  it('reads the pool of links', () => {
    expect(queueManagerConfig({ NATS_POOL_MAX_CONNECTIONS: '8' }).pool).toBeUndefined();
    expect(queueManagerConfig({ NATS_POOL_ENABLED: 'true', NATS_POOL_MIN_CONNECTIONS: '2' }).pool).toEqual({ min: 2, max: 4 });
    expect(() => queueManagerConfig({ NATS_POOL_MIN_CONNECTIONS: '9' })).toThrow(/NATS_POOL_MIN_CONNECTIONS.*at most/);
  });
});
