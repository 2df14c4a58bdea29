import { describe, expect, it } from 'vitest';
import { queueManagerConfig } from './config.js';

const search = (env: Record<string, string>) => queueManagerConfig(env).search;

describe('settings of the search', () => {
  it('a file by namespace and port, in the data folder or one of its own', () => {
    expect(search({ JETLANE_DATA_DIR: '/data', JETLANE_NAMESPACE: 'n', QUEUE_MANAGER_PORT: '3011' })).toEqual({
      file: '/data/search/n-3011.db',
      temporary: false,
    });
    expect(search({ JETLANE_DATA_DIR: '/data', JETLANE_SEARCH_DIR: '/fast' })?.file).toBe('/fast/default-3001.db');
    expect(search({})?.file).toMatch(/jetlane-search(-\d+)?.default-3001\.db$/);
  });

  it('of this process alone where the port is any', () => {
    expect(search({ QUEUE_MANAGER_PORT: '0', JETLANE_SEARCH_DIR: '/s' })).toEqual({
      file: `/s/default-pid-${process.pid}.db`,
      temporary: true,
    });
  });

  it('off, on, and nothing else', () => {
    expect(search({ JETLANE_SEARCH: 'off' })).toBeUndefined();
    expect(search({ JETLANE_SEARCH: 'on' })).toBeDefined();
    expect(() => search({ JETLANE_SEARCH: 'no' })).toThrow('JETLANE_SEARCH: expected on or off');
  });
});

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
