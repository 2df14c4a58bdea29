import { describe, expect, it } from 'vitest';
import { readWorkerConfig } from './config.js';

const DATABASE_URL = 'postgres://jetlane:secret@127.0.0.1:5442/jetlane';

describe('readWorkerConfig', () => {
  it('fills in defaults', () => {
    expect(readWorkerConfig({ DATABASE_URL, WORKER_CONCURRENCY: '' })).toMatchObject({
      name: 'worker',
      host: '127.0.0.1',
      port: 3005,
      databaseUrl: DATABASE_URL,
      databaseMaxConnections: 20,
      queues: ['default', 'high_priority', 'low_priority'],
      concurrency: 10,
      shutdownTimeoutMs: 10_000,
      stuckExitMs: 60_000,
      inboxRetentionMs: 7 * 86_400_000,
    });
  });

  it('reads what is given', () => {
    const env = {
      DATABASE_URL,
      WORKER_CONCURRENCY: '2',
      WORKER_QUEUES: 'mail, mail,reports',
      WORKER_SHUTDOWN_TIMEOUT: '1500',
      INBOX_RETENTION: '2d',
    };
    expect(readWorkerConfig(env)).toMatchObject({
      concurrency: 2,
      databaseMaxConnections: 4,
      queues: ['mail', 'reports'],
      shutdownTimeoutMs: 1500,
      inboxRetentionMs: 172_800_000,
    });
  });

  it('reads a rate, and the switch that goes back to conservative settings', () => {
    const read = (env: Record<string, string>) => {
      const { concurrency, rate, ceiling } = readWorkerConfig({ DATABASE_URL, ...env });
      return { concurrency, rate, ceiling };
    };
    expect(read({})).toEqual({ concurrency: 10, rate: undefined, ceiling: undefined });
    expect(read({ QUEUE_RATE_LIMIT: '30' }).rate).toEqual({ count: 30, per: '1s' });
    expect(read({ QUEUE_RATE_LIMIT: '5/10s' }).rate).toEqual({ count: 5, per: '10s' });
    expect(read({ QUEUE_RATE_LIMIT: '100/m', QUEUE_OPTIMIZATION_ENABLED: 'true' }).rate).toEqual({ count: 100, per: '1m' });
    expect(read({ QUEUE_OPTIMIZATION_ENABLED: 'true' })).toEqual({ concurrency: 10, rate: { count: 30 }, ceiling: undefined });
    expect(read({ QUEUE_OPTIMIZATION_ENABLED: 'false', WORKER_CONCURRENCY: '50' })).toMatchObject({
      concurrency: 50,
      ceiling: { concurrency: 3, rate: { count: 10 } },
    });
    for (const wrong of ['fast', '0/s', '10/', '-1', '10/week'])
      expect(() => read({ QUEUE_RATE_LIMIT: wrong }), wrong).toThrow(/QUEUE_RATE_LIMIT: expected a rate such as 30\/s/);
    expect(() => read({ QUEUE_OPTIMIZATION_ENABLED: 'maybe' })).toThrow(/QUEUE_OPTIMIZATION_ENABLED/);
  });

  it('names every variable that is wrong, and keeps the password to itself', () => {
    const env = {
      DATABASE_URL: 'mysql://root:secret@host',
      WORKER_CONCURRENCY: 'ten',
      WORKER_QUEUES: 'Bad Name',
      INBOX_RETENTION: 'long',
      WORKER_SHUTDOWN_TIMEOUT: '1m',
    };
    expect(() => readWorkerConfig(env)).toThrow(
      /DATABASE_URL: .*WORKER_QUEUES: .*WORKER_CONCURRENCY: .*WORKER_SHUTDOWN_TIMEOUT: .*INBOX_RETENTION: /,
    );
    expect(() => readWorkerConfig(env)).not.toThrow(/secret/);
    expect(() => readWorkerConfig({})).toThrow(/DATABASE_URL: is not set/);
  });
});
