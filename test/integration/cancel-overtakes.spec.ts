import { TaskClient } from '@jetlane/client';
import type { Connection } from '@jetlane/jetstream';
import { decodeRecord } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backlog, Effects, redefine } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { SHORT_LEASE, WorkerSite } from './worker-fixture.js';

/** Everybody may do anything, but for the user `worker`, who may not delete messages, as in deploy/nats/permissions.yaml. */
const USERS = `
authorization {
  users: [
    { user: all, password: all }
    { user: worker, password: worker, permissions: { publish: { deny: ["$JS.API.STREAM.MSG.DELETE.>"] } } }
  ]
}
no_auth_user: all
`;

let site: WorkerSite;
let client: TaskClient;
beforeAll(async () => {
  site = await WorkerSite.open('overtakes', { extra: USERS });
  await site.schedule();
  client = new TaskClient(site.connection);
});
afterAll(async () => {
  await client.close();
  await site.close();
});

type Death = 'lives on' | 'dies after its timer' | 'dies after its record';

/** By a canceller that dies before its purge: after it nothing would come back to a worker. */
async function cancelHalfway(queue: string, key: string): Promise<void> {
  const record = { id: `${queue}.${key}`, hop: 1, state: 'cancelled', attempt: 1, at: {}, reason: 'r' } as const;
  await site.installation.store.writeRecord(queue, key, record, 60_000);
}

/** A worker's link: between the worker's look and its first timer somebody cancels the task; then the worker lives on or dies. */
async function overtaken(queue: string, user: string, death: Death): Promise<{ link: Connection; cancelled: () => string | undefined }> {
  const link = await site.installation.link(undefined, { user, password: user });
  const publish = link.publish.bind(link);
  let key: string | undefined;
  let over = false;
  link.publish = async (...given) => {
    const [subject, body] = given;
    if (!key && subject.startsWith(link.names.pattern('schedules.'))) {
      key = subject.split('.').at(-1)!;
      if (death === 'dies after its timer') await cancelHalfway(queue, key);
      else await client.cancel(`${queue}.${key}`);
      const ack = await publish(...given);
      over = true;
      if (death === 'dies after its timer') await link.raw().close();
      return ack;
    }
    const ack = await publish(...given);
    const isRecord = key !== undefined && subject === link.names.state(queue, key);
    if (death === 'dies after its record' && isRecord && decodeRecord(Buffer.from(body as Uint8Array))?.state === 'cancelled')
      await link.raw().close();
    return ack;
  };
  return { link, cancelled: () => (over ? key : undefined) };
}

const cases: [string, Death][] = [
  ['all', 'lives on'],
  ['worker', 'lives on'],
  ['worker', 'dies after its timer'],
  ['worker', 'dies after its record'],
];

describe.concurrent('a task that is cancelled while its next hop is stored', () => {
  // A put-away comes back within its lease: where the worker dies after its timer, the copy may be in a lane before anybody finds out.
  const found = cases.filter(([, death]) => death !== 'dies after its timer');
  it.each(found)('is put away by a worker of user "%s" that %s: it never runs', async (user, death) => {
    const queue = site.queueName();
    const definition = { name: queue, lease: SHORT_LEASE };
    await redefine(site, { ...definition, limits: { group: { concurrency: 1 } } });
    await site.define(definition);
    await backlog(site, queue, 30, 'k', 'g');
    const { link, cancelled } = await overtaken(queue, user, death);
    const effects = new Effects();
    await site.worker({ queue, name: 'first', concurrency: 2, handlers: { t: effects.handler('first', 60) } }, link);
    await eventually('one is cancelled', () => cancelled() !== undefined, 30_000);
    if (death !== 'lives on') await eventually('the first worker is dead', () => link.state === 'closed');
    const heir = await site.installation.link(undefined, { user, password: user });
    await site.worker({ queue, name: 'heir', concurrency: 2, handlers: { t: effects.handler('heir', 5) } }, heir);
    const key = cancelled()!;
    await eventually('all others have run', () => new Set(effects.runs.map((run) => run.key)).size >= 29, 60_000);
    await site.gone(queue, key);
    expect(effects.runs.filter((run) => run.key === key)).toEqual([]);
    expect(await client.status(`${queue}.${key}`)).toMatchObject({ state: 'cancelled' });
  });

  it.each(cases)('has failed in a worker of user "%s" that %s: it does not run again', async (user, death) => {
    const queue = site.queueName();
    const definition = { name: queue, lease: SHORT_LEASE, retry: { attempts: 3, initialDelay: 2000, maxDelay: 2000 } };
    await redefine(site, definition);
    await site.define(definition);
    const { link, cancelled } = await overtaken(queue, user, death);
    const runs: string[] = [];
    const handlers = { t: (_: unknown, { key }: { key: string }) => Promise.reject(new Error(`run ${runs.push(key)}`)) };
    await site.worker({ queue, name: 'first', handlers }, link);
    await site.task(queue, 'k', 't');
    await eventually('it is cancelled', () => cancelled() !== undefined);
    if (death !== 'lives on') await eventually('the first worker is dead', () => link.state === 'closed');
    await site.worker({ queue, name: 'heir', handlers }, await site.installation.link(undefined, { user, password: user }));
    await site.gone(queue, 'k');
    expect(runs).toEqual(['k']);
    expect(await client.status(`${queue}.k`)).toMatchObject({ state: 'cancelled' });
  });
});
