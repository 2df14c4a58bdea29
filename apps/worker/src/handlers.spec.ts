import { DatabaseError } from '@jetlane/postgres';
import { FatalError } from '@jetlane/protocol';
import { RetryLater, type TaskContext } from '@jetlane/worker';
import { describe, expect, it } from 'vitest';
import { outlastOutage } from './handlers.js';

const failWith = (error: Error) => outlastOutage(() => Promise.reject(error));
const run = async (error: Error) => await Promise.resolve(failWith(error)({}, {} as TaskContext)).catch((thrown: unknown) => thrown);

describe('outlastOutage', () => {
  it('makes a task wait for a database that is away, at the cost of no attempt', async () => {
    const thrown = await run(new DatabaseError('gone', { details: { reason: 'connection-lost' } }));
    expect(thrown).toBeInstanceOf(RetryLater);
    expect(thrown).toMatchObject({ message: 'gone', options: { countsAsAttempt: false } });
    expect((thrown as RetryLater).delay).toBeGreaterThanOrEqual(1000);
    expect((thrown as RetryLater).delay).toBeLessThanOrEqual(5000);
  });

  it('leaves other errors and results as they are', async () => {
    for (const error of [new DatabaseError('deadlock', { details: { reason: 'deadlock' } }), new FatalError('no'), new Error('plain')]) {
      expect(await run(error)).toBe(error);
    }
    expect(await outlastOutage(() => 7)({}, {} as TaskContext)).toBe(7);
  });
});
