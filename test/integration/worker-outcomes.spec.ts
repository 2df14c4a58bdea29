import { TaskClient } from '@jetlane/client';
import { leaderGet } from '@jetlane/jetstream';
import { FatalError, headerValue, type QueueDefinition, type StateRecord } from '@jetlane/protocol';
import { Cancelled } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, keepingLog } from './services-fixture.js';
import { QUICK_RETRY, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('outcomes');
  await site.schedule();
});
afterAll(() => site.close());

const handlers = {
  ok: () => ({ n: 1 }),
  dead: () => {
    throw new FatalError('never');
  },
  cancelled: () => {
    throw new Cancelled('unwanted');
  },
};

/** A worker of a queue of its own, and a task of each type under a key of the same name. */
async function outcomes(definition: Omit<QueueDefinition, 'name'>, keys = Object.keys(handlers)) {
  const queue = site.queueName();
  await site.worker({ queue, handlers, definition });
  await Promise.all(keys.map((key) => site.task(queue, key, key)));
  await site.drained(queue);
  return queue;
}

describe('Task-Reply', () => {
  const listen = (subject: string) => {
    const replies: StateRecord[] = [];
    site.connection.subscribe(subject, ({ data }) => replies.push(JSON.parse(Buffer.from(data).toString()) as StateRecord));
    return replies;
  };

  it('gets the outcome at the end, once: the state record, whether one is kept or not', async () => {
    const queue = site.queueName();
    const replies = listen('outcomes.replies.mine.*');
    await site.worker({
      queue,
      handlers: {
        ...handlers,
        fails: () => {
          throw new Error('no');
        },
        odd: () => ({ big: 1n }),
      },
      definition: { retry: { ...QUICK_RETRY, attempts: 2 }, keep: 'none' },
    });
    const keys = ['ok', 'dead', 'cancelled', 'fails'];
    for (const key of keys)
      await site.send(queue, key, '', [
        ['Task-Type', key],
        ['Task-Reply', `outcomes.replies.mine.${key}`],
      ]);
    await eventually('all are told', () => replies.length === 4);
    const told = Object.fromEntries(replies.map((reply) => [reply.id.split('.')[1]!, reply]));
    expect(told).toMatchObject({
      ok: { state: 'completed', result: { n: 1 }, hop: 1, attempt: 1, type: 'ok' },
      dead: { state: 'dead', reason: 'fatal', error: { name: 'FatalError' } },
      cancelled: { state: 'cancelled', reason: 'unwanted' },
      fails: { state: 'dead', reason: 'attempts-exhausted', hop: 2, attempt: 2 },
    });
    await site.drained(queue);
    await site.connection.flush();
    expect(replies).toHaveLength(4);
  });

  it('may be an inbox, so that a plain NATS client can wait for a task', async () => {
    const queue = await outcomes({}, []);
    const replies = listen('_INBOX.stranger.1');
    await site.send(queue, 'k', '', [
      ['Task-Type', 'ok'],
      ['Task-Reply', '_INBOX.stranger.1'],
    ]);
    await eventually('it is told', () => replies.length === 1);
    expect(replies[0]).toEqual(await site.record(queue, 'k'));
  });

  it('anywhere else is not answered but logged, and the task is none the worse', async () => {
    const queue = site.queueName();
    const log = keepingLog();
    const { names } = site.connection;
    const subjects = [
      names.task(queue, 'normal', 'forged'),
      names.state(queue, 'forged'),
      '$JS.API.STREAM.DELETE.x',
      'replies.other.installation',
      'outcomes.replies',
      'outcomes.replies.',
      'outcomes.replies.*',
      'outcomes.replies.>',
      '_INBOX.',
      '_INBOX.a b',
      '_INBOX..a',
      '_INBOX.ü',
      `_INBOX.${'x'.repeat(300)}`,
      '_INBOXES.a',
    ];
    const heard: string[] = [];
    for (const pattern of ['outcomes.replies.>', 'replies.>', '_INBOXES.>'])
      site.connection.subscribe(pattern, ({ subject }) => heard.push(subject));
    await site.worker({ queue, handlers, log });
    for (const [i, subject] of subjects.entries())
      await site.send(queue, `k${i}`, '', [
        ['Task-Type', 'ok'],
        ['Task-Reply', subject],
      ]);
    for (const i of subjects.keys()) await site.reaches(queue, `k${i}`, 'completed');
    await eventually('all are refused', () => log.lines.filter(({ event }) => event === 'reply:refused').length === subjects.length);
    await site.connection.flush();
    expect(heard).toEqual([]);
    expect(await site.record(queue, 'forged')).toBeUndefined();
    expect(await site.installation.inLane(queue, 'forged')).toBeUndefined();
  });
});

describe('records', () => {
  it.each([
    ['all', ['ok', 'dead', 'cancelled']],
    ['failures', ['dead', 'cancelled']],
    ['none', []],
  ] as const)('keep: %s', async (keep, kept) => {
    const queue = await outcomes({ keep });
    const found = await Promise.all(Object.keys(handlers).map(async (key) => [key, await site.record(queue, key)] as const));
    expect(found.filter(([, record]) => record).map(([key]) => key)).toEqual(kept);
    expect(await site.letter(queue, 'dead')).toMatchObject({ reason: 'fatal' });
  });

  it('keep: none still answers an idempotency key: a second enqueue finds the first', async () => {
    const queue = await outcomes({ keep: 'none' }, []);
    const client = new TaskClient(await site.installation.link());
    await client.enqueue(queue, { type: 'ok', key: 'mine', data: 1 });
    await site.drained(queue);
    expect(await client.enqueue(queue, { type: 'ok', key: 'mine', data: 1 })).toMatchObject({ duplicate: true, state: 'completed' });
    await client.close();
  });

  it('live as long as their outcome says', async () => {
    const queue = await outcomes({ keepRecords: '1h', keepFailures: '7d' });
    const { names } = site.connection;
    const ttl = async (key: string) => {
      const stored = await leaderGet(site.connection, names.taskStates, names.state(queue, key));
      return headerValue(stored!.headers, 'Nats-TTL');
    };
    expect(await Promise.all(['ok', 'dead', 'cancelled'].map(ttl))).toEqual(['3600s', '604800s', '604800s']);
  });

  it('are removed beyond maxRecords, the oldest first, and those of other queues stay', async () => {
    const other = await outcomes({});
    const queue = site.queueName();
    await site.worker({ queue, handlers, definition: { maxRecords: 20 } });
    for (let i = 0; i < 50; i++) await site.task(queue, `k${i}`, 'ok');
    await site.drained(queue);
    const { names } = site.connection;
    const left = async () => {
      const info = await (await site.connection.admin()).streams.info(names.taskStates, { subjects_filter: names.state(queue, '*') });
      return Object.keys(info.state.subjects ?? {});
    };
    await eventually('twenty are left', async () => (await left()).length === 20, 30_000);
    expect(await left()).not.toContain(names.state(queue, 'k0'));
    expect(await site.record(other, 'ok')).toMatchObject({ state: 'completed' });
  });
});
