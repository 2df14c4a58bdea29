import { type Connection, provisionBase, ServerClock } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from '../support/broker.js';

const TEN_MINUTES = 600_000;

let broker: Broker;
let connection: Connection;
beforeAll(async () => {
  broker = await Broker.start('clock');
  connection = await broker.connect();
  await provisionBase(connection);
});
afterAll(() => broker.stop());

/** Away from the true time, which this machine and the server share. */
const error = async (clock: ServerClock, ownMs: number, trueMs: number) => Math.abs((await clock.toServer(ownMs)) - trueMs);

describe('the server’s clock', () => {
  it('is ours as long as the two agree', async () => {
    const at = Date.now() + 5000;
    expect(await new ServerClock(connection).toServer(at)).toBe(at);
  });

  it.each([TEN_MINUTES, -TEN_MINUTES])('is told from a clock that is %i ms off, and from one that is set meanwhile', async (off) => {
    let ahead = off;
    const clock = new ServerClock(connection, () => Date.now() + ahead);
    expect(await error(clock, Date.now() + off + 1000, Date.now() + 1000)).toBeLessThan(1000);
    ahead = 0;
    expect(await error(clock, Date.now() + 1000, Date.now() + 1000)).toBeLessThan(1000);
  });

  it('is ours while nobody answers', async () => {
    const stranger = await broker.connect({ namespace: 'nobody' });
    const clock = new ServerClock(stranger, () => Date.now() + TEN_MINUTES);
    expect(await clock.toServer(1)).toBe(1);
  });
});
