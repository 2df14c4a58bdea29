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
