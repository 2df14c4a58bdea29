import { appendHistory, type Heartbeat } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytes } from '../support/broker.js';
import { countSent, Installation } from '../support/installation.js';
import { eventually, rejection } from '../support/wait-until.js';

let all: Installation;

beforeAll(async () => {
  all = await Installation.open('status', { name: 'q' });
});
afterAll(() => all.close());

const timer = (key: string, hop: number, attempt: number, at: number) =>
  all.store.setTimer({ queue: 'q', lane: 'high', key, at, hop, attempt, headers: [['Task-Type', 'mail']], data: bytes('{}') });
const inLane = (key: string, hop = 1) =>
  all.store.publishTask('q', 'low', key, { headers: [['Task-Type', 'mail']], data: bytes('{}'), hop });
const heartbeat = (key: string, fields: Partial<Heartbeat> = {}) => {
  const running = [{ key, lane: 'low' as const, hop: 1, attempt: 1, startedAt: 5 }];
  const beat: Heartbeat = {
    worker: 'w1',
    queue: 'q',
    host: 'h',
    pid: 1,
    version: '1',
    startedAt: 1,
    at: Date.now(),
    slots: 1,
    busy: 1,
    types: [],
    running,
    ...fields,
  };
  all.connection.send(all.connection.names.heartbeat('q', 'w1'), JSON.stringify(beat));
};
const stateOf = async (key: string) => (await all.client.status(`q.${key}`)).state;

describe('every state', () => {
  it('accepted: the record stands, the task is nowhere', async () => {
    await all.finish('q.accepted', { state: 'accepted', claim: 'c', hash: 'h' });
    const status = await all.client.status('q.accepted');
    expect(status).toMatchObject({ id: 'q.accepted', queue: 'q', state: 'accepted', hop: 1 });
    expect(status).not.toHaveProperty('claim');
  });

  it('queued, with when it was created and stored', async () => {
    const { id } = await all.client.enqueue('q', {
      type: 'mail',
      lane: 'low',
      group: 'g',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    });
    const status = await all.client.status(id);
    expect(status).toMatchObject({
      id,
      state: 'queued',
      lane: 'low',
      type: 'mail',
      group: 'g',
      attempt: 1,
      hop: 1,
      trace: '4bf92f3577b34da6a3ce929d0e0e4736',
      history: [],
    });
    expect(Math.abs(status.at.created! - status.at.stored!)).toBeLessThan(5000);
  });

  it('scheduled and retrying, with when', async () => {
    const at = Date.now() + 3_600_000;
    await timer('scheduled', 1, 1, at);
    expect(await all.client.status('q.scheduled')).toMatchObject({ state: 'scheduled', lane: 'high', at: { scheduledFor: at } });
    await timer('retrying', 2, 2, at);
    expect(await all.client.status('q.retrying')).toMatchObject({ state: 'retrying', attempt: 2, hop: 2, at: { scheduledFor: at } });
  });

  it('due: queued, with its lane', async () => {
    await timer('due', 1, 1, Date.now() - 1000);
    await eventually('the timer fires', async () => (await stateOf('due')) === 'queued');
    expect(await all.client.status('q.due')).toMatchObject({
      lane: 'high',
      at: expect.not.objectContaining({ scheduledFor: expect.anything() }),
    });
  });

  it('running, as the worker’s heartbeat tells, and not when that was long ago or of another hop', async () => {
    await inLane('running');
    expect(await stateOf('running')).toBe('queued');
    heartbeat('running');
    await eventually('it runs', async () => (await stateOf('running')) === 'running');
    expect(await all.client.status('q.running')).toMatchObject({ worker: 'w1', at: { started: 5 } });
    await inLane('running', 2);
    expect(await stateOf('running')).toBe('queued');
    heartbeat('running', { stopping: true });
    for (const hostile of ['', '{', 'null', '{}', '{"worker":"w","queue":"q","running":[null]}', '{"worker":{},"queue":[],"running":{}}'])
      all.connection.send(all.connection.names.heartbeat('q', 'x'), hostile);
    await all.connection.flush();
    expect(await stateOf('running')).toBe('queued');
  });

  it('completed, cancelled and dead, as their record says', async () => {
    await all.finish('q.completed', { result: { ok: 1 }, worker: 'w', trace: 't', type: 'mail' });
    expect(await all.client.status('q.completed')).toMatchObject({
      state: 'completed',
      result: { ok: 1 },
      worker: 'w',
      trace: 't',
      history: [],
    });
    await all.finish('q.cancelled', { state: 'cancelled', reason: 'by hand' });
    expect(await all.client.status('q.cancelled')).toMatchObject({ state: 'cancelled', reason: 'by hand' });
  });

  it('dead by its dead letter alone, with reason, error, lane and history', async () => {
    const history = appendHistory(undefined, { attempt: 1, at: 1, name: 'Error', message: 'first' });
    const extra = {
      'Task-Dead-Reason': 'poison',
      'Task-Dead-Error': '{"name":"E","message":"m"}',
      'Task-Dead-Source': 'status_tasks_q_high:7',
    };
    await all.store.publishDead('q', 'dead', {
      headers: [
        ['Task-Errors', history],
        ['Task-Attempt', '3'],
      ],
      data: bytes('{}'),
      hop: 3,
      extra,
    });
    expect(await all.client.status('q.dead')).toMatchObject({
      state: 'dead',
      reason: 'poison',
      error: { name: 'E', message: 'm' },
      lane: 'high',
      attempt: 3,
      hop: 3,
      history: [{ attempt: 1, message: 'first' }],
    });
    await all.finish('q.dead', { state: 'dead', hop: 3, reason: 'poison' });
    expect((await all.client.status('q.dead')).history).toHaveLength(1);
  });
});

describe('which copy is believed', () => {
  it('the highest hop, wherever it is', async () => {
    await inLane('hops', 2);
    await all.finish('q.hops', { state: 'cancelled', hop: 1 });
    expect(await all.client.status('q.hops')).toMatchObject({ state: 'queued', hop: 2 });
    await timer('hops', 3, 2, Date.now() + 3_600_000);
    expect(await all.client.status('q.hops')).toMatchObject({ state: 'retrying', hop: 3 });
    await all.finish('q.hops', { hop: 4 });
    expect(await all.client.status('q.hops')).toMatchObject({ state: 'completed', hop: 4 });
  });

  it('of one hop: a final record, then what is live, then any other record', async () => {
    await inLane('same');
    await all.finish('q.same', { state: 'queued', crashes: 1 });
    expect(await stateOf('same')).toBe('queued');
    expect((await all.client.status('q.same')).lane).toBe('low');
    await all.finish('q.same', { state: 'accepted' });
    expect(await stateOf('same')).toBe('queued');
    await all.finish('q.same');
    expect(await stateOf('same')).toBe('completed');
  });
});

describe('what is not there', () => {
  it('is asked once from any replica and once from the leaders, then a typed 404', async () => {
    await all.client.status('q.completed');
    const sent = countSent(all.connection);
    await all.client.status('q.completed');
    expect(sent()).toBe(8);
    expect(await rejection(all.client.status('q.nothing'))).toMatchObject({
      code: 'task-not-found',
      retryable: false,
      details: { id: 'q.nothing' },
    });
    expect(sent()).toBe(24);
  });

  it('a task of a queue that does not exist is not found either', async () => {
    expect(await rejection(all.client.status('nowhere.key'))).toMatchObject({ code: 'task-not-found' });
    await all.finish('removed.key');
    expect(await all.client.status('removed.key')).toMatchObject({ state: 'completed' });
  });

  it('an id that is none is refused before anything is asked', async () => {
    const sent = countSent(all.connection);
    for (const id of ['', 'q', 'q.', '.k', 'q.*', 'q.>', 'q.a.b', 'Q.k'])
      expect(await rejection(all.client.status(id)), id).toMatchObject({ code: 'invalid-argument' });
    expect(sent()).toBe(0);
  });
});
