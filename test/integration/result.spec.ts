import { TaskClient } from '@jetlane/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countSent, Installation } from '../support/installation.js';
import { eventually, holdsFor, rejection } from '../support/wait-until.js';

let all: Installation;

beforeAll(async () => {
  all = await Installation.open('result', { name: 'q' });
});
afterAll(() => all.close());

const enqueue = async (on = all): Promise<string> => (await on.client.enqueue('q', { type: 'mail' })).id;

/** A client of its own that waits for a task; resolves when it has looked for the first time and now only listens. */
async function listening(id: string, options: { timeout?: string; signal?: AbortSignal } = {}) {
  const connection = await all.broker.connect();
  const client = new TaskClient(connection);
  const received = () => connection.raw().stats().inMsgs;
  const result = client.result(id, options);
  result.catch(() => undefined);
  await eventually('it has looked', () => received() >= 8);
  await connection.flush();
  return { connection, client, result, sent: countSent(connection) };
}

describe('waiting for a result', () => {
  it('sends nothing between the first look and the record', async () => {
    const id = await enqueue();
    const { result, sent } = await listening(id);
    await holdsFor('nothing is asked', 1000, () => sent() === 0);
    await all.finish(id, { state: 'queued', crashes: 1 });
    await holdsFor('a record that is not final is no news', 200, () => sent() === 0);
    await all.finish(id, { result: { n: 1 } });
    expect(await result).toMatchObject({ id, state: 'completed', result: { n: 1 } });
    expect(sent()).toBeLessThan(20);
  });

  it('answers at once for a task that is finished, however it ended', async () => {
    for (const state of ['completed', 'cancelled', 'dead'] as const) {
      const id = await enqueue();
      await all.finish(id, { state });
      expect(await all.client.result(id)).toMatchObject({ id, state });
    }
  });

  it('a hundred wait for one task, and one for a hundred', async () => {
    const id = await enqueue();
    const crowd = Promise.all(Array.from({ length: 100 }, () => all.client.result(id)));
    const ids = await Promise.all(Array.from({ length: 100 }, () => enqueue()));
    const many = Promise.all(ids.map((each) => all.client.result(each)));
    await Promise.all([id, ...ids].map((each) => all.finish(each)));
    expect(new Set((await crowd).map(({ state }) => state))).toEqual(new Set(['completed']));
    expect((await many).map((status) => status.id)).toEqual(ids);
  });

  it('gives up after its time, and the task goes on', async () => {
    const id = await enqueue();
    expect(await rejection(all.client.result(id, { timeout: '150ms' }))).toMatchObject({ code: 'request-timeout', details: { id } });
    expect(await all.client.status(id)).toMatchObject({ state: 'queued' });
    expect(await rejection(all.client.result(id, { timeout: 'soon' }))).toMatchObject({ code: 'invalid-argument' });
  });

  it('a time beyond what a timer can hold is no time at all', async () => {
    const id = await enqueue();
    let settled = false;
    const result = all.client.result(id, { timeout: '60d' }).finally(() => {
      settled = true;
    });
    await holdsFor('it waits', 200, () => !settled);
    await all.finish(id);
    expect((await result).state).toBe('completed');
  });

  it('stops at an abort, before or during', async () => {
    const id = await enqueue();
    const reason = new Error('enough');
    expect(await rejection(all.client.result(id, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    const controller = new AbortController();
    const { result, sent } = await listening(id, { signal: controller.signal });
    controller.abort(reason);
    expect(await rejection(result)).toBe(reason);
    await all.finish(id);
    await holdsFor('it no longer listens', 200, () => sent() === 0);
  });

  it('says when there is no such task, or the connection is closed', async () => {
    for (const id of ['q.nothing', 'nowhere.key'])
      expect(await rejection(all.client.result(id)), id).toMatchObject({ code: 'task-not-found' });
    expect(await rejection(all.client.result('x'))).toMatchObject({ code: 'invalid-argument' });
    const { connection, result } = await listening(await enqueue());
    await connection.close();
    expect(await rejection(result)).toMatchObject({ code: 'connection-closed' });
  });

  it('survives a restart of the server, and a record that was stored meanwhile', async () => {
    const own = await Installation.open('result', { name: 'q' });
    const [before, after] = [await enqueue(own), await enqueue(own)];
    const link = await own.broker.connect();
    const waiting = new TaskClient(link);
    const results = [waiting.result(before), waiting.result(after)];
    own.broker.server.kill('SIGKILL');
    await eventually('both links are down', () => link.state === 'reconnecting' && own.connection.state === 'reconnecting');
    const early = own.finish(before);
    await own.broker.server.exited;
    await own.broker.server.start();
    await early;
    expect((await results[0])!.state).toBe('completed');
    await own.finish(after);
    expect((await results[1])!.state).toBe('completed');
    await waiting.close();
    await own.close();
  });
});
