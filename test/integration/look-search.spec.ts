import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Connection } from '@jetlane/jetstream';
import { callCommand } from '@jetlane/nestjs/service';
import {
  type CommandInput,
  type CommandOutput,
  type Heartbeat,
  SEARCH_COMMANDS,
  type StateRecord,
  type TaskEntry,
} from '@jetlane/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Projection } from '../../apps/queue-manager/src/search/projection.js';
import { SearchComponent, type SearchOptions } from '../../apps/queue-manager/src/search/search-component.js';
import { Child } from '../support/child.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

type Input = Partial<CommandInput<typeof SEARCH_COMMANDS.tasks>>;
type Page = CommandOutput<typeof SEARCH_COMMANDS.tasks>;

let site: Installation;
let folder: string;
let files = 0;
const running: SearchComponent[] = [];
const log = keepingLog();
let beats: Heartbeat[] = [];
const HOUR = 3_600_000;

beforeAll(async () => {
  site = await Installation.open('look-search');
  for (const name of ['a', 'b', 'bare']) await site.queue({ name });
  folder = mkdtempSync(join(tmpdir(), 'jetlane-look-'));
});
afterEach(async () => {
  beats = [];
  await Promise.all(running.splice(0).map((component) => component.stop()));
});
afterAll(async () => {
  await site.close();
  rmSync(folder, { recursive: true, force: true });
});

const newFile = () => join(folder, `${files++}.db`);

async function open(options: Partial<SearchOptions> = {}, link: Connection = site.connection): Promise<SearchComponent> {
  const component = new SearchComponent(link, {
    log,
    alive: (queue) => beats.filter((beat) => (queue ?? beat.queue) === beat.queue),
    ...options,
  });
  running.push(component);
  await component.start();
  return component;
}

/** A search whose projection has seen all there is now. */
async function openCurrent(file = newFile()): Promise<SearchComponent> {
  const component = await open({ file });
  await current(component);
  return component;
}

async function current(component: SearchComponent): Promise<void> {
  const { streams } = await site.connection.admin();
  const { last_seq } = (await streams.info(site.connection.names.taskStates)).state;
  await eventually('the projection has seen all', () => component.status().position >= last_seq && component.status().state === 'current');
}

const list = (input: Input = {}): Promise<Page> => callCommand(site.connection, SEARCH_COMMANDS.tasks, { limit: 50, ...input }, 'test');

/** All pages. */
async function listAll(input: Input = {}): Promise<TaskEntry[]> {
  const items: TaskEntry[] = [];
  for (let cursor: string | undefined, pages = 0; pages < 500; pages++) {
    const page = await list({ ...input, ...(cursor ? { cursor } : {}) });
    items.push(...page.items);
    cursor = page.cursor;
    if (cursor === undefined) return items;
  }
  throw new Error('the pages do not end');
}

const ids = (items: readonly TaskEntry[]) => items.map(({ id }) => id);

function finish(id: string, fields: Partial<StateRecord> = {}, keepMs = HOUR): Promise<unknown> {
  const [queue, key] = id.split('.') as [string, string];
  const record: StateRecord = {
    id,
    hop: 1,
    lane: 'normal',
    type: 't',
    state: 'completed',
    attempt: 1,
    at: { finished: Date.now() },
    ...fields,
  };
  return site.store.writeRecord(queue, key, record, keepMs);
}

/** A dead task as a worker leaves it: the letter, then the record. */
async function die(id: string, message: string, fields: Partial<StateRecord> = {}, body = '{}'): Promise<void> {
  const [queue, key] = id.split('.') as [string, string];
  const error = { name: 'Error', message };
  const headers: [string, string][] = [['Task-Type', fields.type ?? 't']];
  const extra = { 'Task-Dead-Reason': 'attempts-exhausted', 'Task-Dead-Error': JSON.stringify(error) };
  await site.store.publishDead(queue, key, { headers, data: new TextEncoder().encode(body), hop: 1, extra });
  await finish(id, { state: 'dead', error, reason: 'attempts-exhausted', ...fields });
}

describe('tasks that wait', () => {
  it('are found by queue, lane, type, group, time, error and payload, page by page', async () => {
    await open();
    for (let i = 0; i < 7; i++)
      await site.enqueue('a', `n${i}`, { body: JSON.stringify({ city: i % 2 ? 'Bonn' : 'Kiel' }), headers: [['Task-Type', `t${i % 2}`]] });
    const history = JSON.stringify([{ attempt: 1, at: 1, name: 'TimeoutError', message: 'bank is slow' }]);
    await site.enqueue('a', 'urgent', {
      lane: 'critical',
      headers: [
        ['Task-Type', 't0'],
        ['Task-Group', 'g'],
        ['Task-Errors', history],
        ['Task-Attempt', '2'],
      ],
    });
    await site.enqueue('b', 'else');
    await site.timer('b', 'later', { at: Date.now() + HOUR, lane: 'high', type: 't1' });
    await site.timer('b', 'again', { at: Date.now() + HOUR, attempt: 3, hop: 3 });

    expect(ids(await listAll({ limit: 3 }))).toEqual([
      ...['a.urgent', 'a.n0', 'a.n1', 'a.n2', 'a.n3', 'a.n4', 'a.n5', 'a.n6', 'b.else', 'b.later', 'b.again'],
    ]);
    expect(ids(await listAll({ queue: 'b' }))).toEqual(['b.else', 'b.later', 'b.again']);
    expect(ids(await listAll({ lane: 'critical' }))).toEqual(['a.urgent']);
    expect(ids(await listAll({ lane: 'high' }))).toEqual(['b.later']);
    expect(ids(await listAll({ type: 't1', limit: 1 }))).toEqual(['a.n1', 'a.n3', 'a.n5', 'b.later']);
    expect(ids(await listAll({ payload: 'bONN' }))).toEqual(['a.n1', 'a.n3', 'a.n5']);
    expect(ids(await listAll({ group: 'g' }))).toEqual(['a.urgent']);
    expect(ids(await listAll({ error: 'BANK' }))).toEqual(['a.urgent']);
    expect(await listAll({ state: 'retrying' })).toMatchObject([{ id: 'b.again', attempt: 3, hop: 3, lane: 'normal', state: 'retrying' }]);
    const [scheduled] = await listAll({ state: 'scheduled' });
    expect(scheduled).toMatchObject({ id: 'b.later', state: 'scheduled' });
    expect(scheduled?.at.scheduled_for).toBeGreaterThan(Date.now());
    const all = await listAll({ state: 'queued', queue: 'a' });
    const times = all.map(({ at }) => at.stored ?? 0);
    const third = times[3]!;
    expect(ids(await listAll({ state: 'queued', queue: 'a', from: third }))).toEqual(ids(all.filter((_, i) => times[i]! >= third)));
    expect(ids(await listAll({ state: 'queued', queue: 'a', to: third }))).toEqual(ids(all.filter((_, i) => times[i]! < third)));
    expect(await listAll({ to: 1000 })).toEqual([]);
  });

  it('running ones are told by heartbeats, and are not listed as queued too', async () => {
    await open();
    await site.enqueue('bare', 'r1', { headers: [['Task-Type', 'x']], body: '"find me"' });
    await site.enqueue('bare', 'r2', { headers: [['Task-Type', 'y']] });
    await site.enqueue('bare', 'w');
    const runs = ['r1', 'r2', 'finished'].map((key) => ({ key, lane: 'normal' as const, hop: 1, attempt: 1, startedAt: 5 }));
    const about = { host: 'h', pid: 1, version: '1', startedAt: 0, at: 0, slots: 2, busy: 2, types: [] };
    beats = [{ worker: 'w-1', queue: 'bare', running: runs, ...about }];
    expect((await listAll({ queue: 'bare', limit: 1 })).map(({ id, state }) => `${id} ${state}`)).toEqual([
      ...['bare.r1 running', 'bare.r2 running', 'bare.w queued'],
    ]);
    expect(await listAll({ queue: 'bare', state: 'running', payload: 'find' })).toMatchObject([
      { id: 'bare.r1', type: 'x', worker: 'w-1', at: { started: 5 } },
    ]);
    expect(ids(await listAll({ state: 'running', type: 'y' }))).toEqual(['bare.r2']);
  });

  it('a page looks at a bounded number, and goes on where it ended', async () => {
    await site.queue({ name: 'deep' });
    const body = new TextEncoder().encode('{}');
    await Promise.all(
      Array.from({ length: 12_000 }, (_, i) => site.store.publishTask('deep', 'normal', `k${i}`, { headers: [], data: body, hop: 1 })),
    );
    await site.enqueue('deep', 'needle', { body: '"needle"' });
    await open();
    const first = await list({ queue: 'deep', payload: 'needle' });
    expect(first.items).toEqual([]);
    expect(first.scanned).toBeLessThan(12_000);
    expect(first.cursor).toBeDefined();
    expect(ids(await listAll({ queue: 'deep', payload: 'needle' }))).toEqual(['deep.needle']);
  });

  it('a wrong cursor is told', async () => {
    await open();
    await expect(list({ cursor: 'nonsense' })).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('finished tasks', () => {
  it('are found newest first, by every condition', async () => {
    for (let i = 0; i < 6; i++)
      await finish(`a.f${i}`, { type: `f${i % 2}`, ...(i < 2 ? { group: 'fg' } : {}), lane: i === 5 ? 'low' : 'normal' });
    await finish('b.f6', { type: 'f0', state: 'cancelled', reason: 'ordered twice' });
    await die('a.d1', 'card 4711 was refused: 100% sure', { type: 'f0' });
    await die('a.d2', 'card_4712 was refused: Überweisung', { type: 'f1' });
    await openCurrent();
    const finished = { state: 'completed,cancelled,dead' };
    expect(ids(await listAll({ ...finished, limit: 2 }))).toEqual([
      ...['a.d2', 'a.d1', 'b.f6', 'a.f5', 'a.f4', 'a.f3', 'a.f2', 'a.f1', 'a.f0'],
    ]);
    expect(ids(await listAll({ ...finished, type: 'f0', error: 'REFUSED' }))).toEqual(['a.d1']);
    expect(ids(await listAll({ ...finished, error: '100% s' }))).toEqual(['a.d1']);
    expect(ids(await listAll({ ...finished, error: 'card_47' }))).toEqual(['a.d2']);
    expect(ids(await listAll({ ...finished, error: 'ÜberWEISUNG' }))).toEqual(['a.d2']);
    expect(ids(await listAll({ ...finished, error: 'card' }))).toEqual(['a.d2', 'a.d1']);
    expect(ids(await listAll({ ...finished, type: 'f1' }))).toEqual(['a.d2', 'a.f5', 'a.f3', 'a.f1']);
    expect(ids(await listAll({ ...finished, group: 'fg' }))).toEqual(['a.f1', 'a.f0']);
    expect(ids(await listAll({ ...finished, lane: 'low' }))).toEqual(['a.f5']);
    expect(ids(await listAll({ ...finished, queue: 'b' }))).toEqual(['b.f6']);
    expect(await listAll({ state: 'cancelled' })).toMatchObject([{ id: 'b.f6', reason: 'ordered twice', state: 'cancelled' }]);
    const page = await list({ state: 'dead' });
    expect(page.items[1]).toMatchObject({ id: 'a.d1', error: 'Error: card 4711 was refused: 100% sure', reason: 'attempts-exhausted' });
    expect(page).toMatchObject({ not_searched: [], projection: { state: 'current', pending: 0, lag_ms: 0 } });
  });

  it('by time', async () => {
    await finish('bare.t1');
    const between = (await site.connection.clock.toServer(Date.now())) + 1;
    await eventually('the clock moves on', () => Date.now() > between + 5);
    await finish('bare.t2');
    await openCurrent();
    const of = (more: Input) => listAll({ queue: 'bare', state: 'completed', ...more }).then(ids);
    expect(await of({ from: between })).toEqual(['bare.t2']);
    expect(await of({ to: between })).toEqual(['bare.t1']);
    expect(await of({})).toEqual(['bare.t2', 'bare.t1']);
  });

  it('a record that is replaced, a redrive, a discard and an expiry are followed', async () => {
    await die('b.back', 'x');
    await die('b.thrown', 'x');
    await finish('b.short', {}, 1000);
    await finish('b.twice');
    const component = await openCurrent();
    const all = () => listAll({ queue: 'b', state: 'completed,dead' }).then((items) => items.map(({ id, state }) => `${id} ${state}`));
    expect(await all()).toEqual(['b.twice completed', 'b.short completed', 'b.thrown dead', 'b.back dead']);
    const { streams } = await site.connection.admin();
    const { names } = site.connection;
    await site.enqueue('b', 'back', { hop: 2 });
    for (const key of ['back', 'thrown']) await streams.purge(names.deadLetters, { filter: names.dead('b', key) });
    await finish('b.thrown', { state: 'dead', at: { discarded: 5 }, error: { name: 'Error', message: 'x' } });
    await finish('b.twice', { state: 'accepted', hop: 2 });
    await current(component);
    await eventually('the short one is over', async () => !(await all()).some((line) => line.startsWith('b.short')));
    expect(await all()).toEqual(['b.thrown dead']);
    await finish('b.back', { hop: 2 });
    await current(component);
    expect(await all()).toEqual(['b.back completed', 'b.thrown dead']);
  });

  it('with a payload asked for: dead letters are read, and it is told what has none', async () => {
    await die('bare.p1', 'no', { type: 'p' }, '{"name":"Ada"}');
    await die('bare.p2', 'no', { type: 'p' }, '{"name":"Bob"}');
    await openCurrent();
    const page = await list({ queue: 'bare', payload: '"ada"' });
    expect(ids(page.items)).toEqual(['bare.p1']);
    expect(page.not_searched).toEqual([{ states: ['completed', 'cancelled'], reason: 'the records of finished tasks have no payload' }]);
  });

  it('without the projection dead tasks are still found', async () => {
    await die('bare.off', 'something rare', { type: 'o' });
    const component = await open();
    const page = await list({ queue: 'bare', error: 'RARE', type: 'o' });
    expect(ids(page.items)).toEqual(['bare.off']);
    expect(page.projection.state).toBe('off');
    expect(page.not_searched).toMatchObject([{ states: ['completed', 'cancelled'] }]);
    expect(component.status()).toMatchObject({ state: 'off', rows: 0 });
  });
});

describe('the projection', () => {
  it('goes on where it was, in a file that stays', async () => {
    const file = newFile();
    const first = await openCurrent(file);
    const { rows, position } = first.status();
    expect(rows).toBeGreaterThan(0);
    await first.stop();
    await finish('a.while-away');
    const second = await openCurrent(file);
    expect(second.status()).toMatchObject({ rows: rows + 1, position: position + 1, applied: 1 });
  });

  it('a broken file, or one of another stream, is built anew', async () => {
    const whole = (await openCurrent()).status().rows;
    const broken = newFile();
    writeFileSync(broken, 'this is no database, but it is long enough to be taken for one'.repeat(100));
    expect((await openCurrent(broken)).status().rows).toBe(whole);
    const other = await Installation.open('look-other');
    try {
      const component = await open({ file: join(folder, '0.db') }, other.connection);
      await eventually('it looked', () => component.status().state === 'current');
      expect(component.status().rows).toBe(0);
    } finally {
      await Promise.all(running.splice(0).map((component) => component.stop()));
      await other.close();
    }
  });

  it('a file that another uses costs the search of finished tasks, not the service, until the other stops', async () => {
    const file = newFile();
    const first = await openCurrent(file);
    const second = await open({ file }, await site.link());
    expect(second.status()).toMatchObject({ state: 'failed' });
    expect(second.status().detail).toContain('JETLANE_SEARCH_DIR');
    expect((await list({ state: 'dead' })).items.length).toBeGreaterThan(0);
    await first.stop();
    await current(second);
  });

  it('crash: killed in the midst of it, rows and position are of one moment', async () => {
    const file = newFile();
    for (let round = 0, before = 0; round < 3; round++) {
      const child = await Child.start('test/integration/look-crash-child.ts', { file });
      await child.said('committed', 20 + round * 7);
      await child.end();
      expect(child.of('attached')[0]?.position).toBe(before);
      const projection = Projection.open(file);
      before = projection.attach({ stream: 's', created: 'c' }, Number.MAX_SAFE_INTEGER);
      const { n, top } = projection.database.prepare('SELECT count(*) AS n, max(seq) AS top FROM tasks').get() ?? {};
      projection.close();
      expect(before).toBeGreaterThanOrEqual(Number(child.of('committed').at(-1)?.position));
      expect({ n, top }).toEqual({ n: before, top: before });
    }
  });
});
