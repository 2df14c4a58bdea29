import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchedQueue, type BatchedQueueOptions, fileSystemStorage, memoryStorage, type StorageDamage } from '@jetlane/batching';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';

let root: string;
let count = 0;
const folder = () => join(root, `d${++count}`);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'jetlane-batching-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

interface Order {
  readonly id: number;
}

function queueOn(directory: string, options: Partial<BatchedQueueOptions<Order>> = {}) {
  const processed: number[] = [];
  const errors: Error[] = [];
  const queue = new BatchedQueue<Order>({
    name: 'orders',
    flushInterval: 5,
    persistence: { storage: fileSystemStorage({ directory }), saveInterval: 20 },
    processor: (items) => {
      processed.push(...items.map(({ id }) => id));
      return items.map(() => ({ success: true }));
    },
    ...options,
    hooks: { onError: (error) => errors.push(error), ...options.hooks },
  });
  return { queue, processed, errors };
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

async function leave(directory: string, ids: readonly number[]): Promise<void> {
  const { queue } = queueOn(directory);
  queue.pause();
  await queue.enqueueMany(ids.map((id) => ({ id })));
  await queue.close();
}

const fileOf = async (directory: string, kind: string) => join(directory, (await readdir(directory)).find((name) => name.endsWith(kind))!);

describe('fileSystemStorage', () => {
  it('gives back what was left, with attempts, priorities and dead letters, and not what is done', async () => {
    const directory = folder();
    const retryStrategy = { maxRetries: 5, backoff: { initialDelay: '1h' } };
    const processor = (items: readonly Order[]) =>
      items.map(({ id }) =>
        id === 0 ? { success: true as const } : { success: false as const, error: new Error('no'), retryable: id !== 1 },
      );
    const first = queueOn(directory, { processor, retryStrategy });
    for (const id of [0, 1, 2]) await first.queue.enqueue({ id }, id);
    await first.queue.flush();
    await first.queue.saveState();
    await first.queue.close();
    const attempts: number[] = [];
    const second = queueOn(directory, {
      processor: (items, context) => {
        attempts.push(...context.attempts);
        return items.map(() => ({ success: true }));
      },
    });
    expect(await second.queue.loadState()).toEqual({ restored: 2, damage: [] });
    expect(second.queue.deadLetters).toMatchObject([{ item: { id: 1 }, attempts: 1 }]);
    expect(second.queue.takeDeadLetters().length).toBe(1);
    await second.queue.drain();
    expect(attempts).toEqual([1]);
    await second.queue.close();
    const third = queueOn(directory);
    expect(await third.queue.loadState()).toEqual({ restored: 0, damage: [] });
    await third.queue.close();
  });

  it.each([
    ['cut off', async (file: string) => truncate(file, (await readFile(file)).length - 7)],
    [
      'garbage behind',
      async (file: string) => appendFile(file, '00000000 {"id":99,"priority":0,"attempts":0,"item":{"id":99}}\n\u0000\u0000'),
    ],
    [
      'a flipped bit in the middle',
      async (file: string) => {
        const data = await readFile(file);
        data[data.indexOf('"item"') + 2]! ^= 1;
        await writeFile(file, data);
      },
    ],
  ])('a damaged file (%s) is reported and kept, and the rest is used', async (what, damageFile) => {
    const directory = folder();
    await leave(directory, range(0, 20));
    await damageFile(await fileOf(directory, '.log'));
    const damage: StorageDamage[] = [];
    const { queue, processed, errors } = queueOn(directory, {
      hooks: {
        onError: (error, about) => {
          errors.push(error);
          if (about.damage) damage.push(about.damage);
        },
      },
    });
    const state = await queue.loadState();
    expect(state.damage.length).toBeGreaterThan(0);
    expect(damage).toEqual(state.damage);
    expect(errors[0]).toMatchObject({ code: 'storage-failed' });
    expect(await readFile(damage[0]!.keptAs!, 'utf8')).toContain('"item"');
    await queue.drain();
    expect(processed.length).toBe(what === 'garbage behind' ? 20 : 19);
    expect(processed).not.toContain(99);
    await queue.close();
  });

  it('lets one process write: a second queue is refused until the first is closed, a dead owner does not matter', async () => {
    const directory = folder();
    const first = queueOn(directory);
    await first.queue.loadState();
    const second = queueOn(directory);
    await expect(second.queue.enqueue({ id: 1 })).rejects.toMatchObject({ code: 'storage-locked', retryable: true });
    await first.queue.close();
    await second.queue.enqueue({ id: 1 });
    await second.queue.drain();
    await second.queue.close();
    const dead = await Child.start('test/integration/batching-file-child.ts', { directory, sync: true, saveInterval: 20, from: 0 });
    await dead.said('accepted');
    const third = queueOn(directory);
    await expect(third.queue.loadState()).rejects.toMatchObject({ code: 'storage-locked' });
    await dead.end();
    expect((await third.queue.loadState()).restored).toBeGreaterThan(0);
    await third.queue.close();
  });

  it('one storage object serves one queue at a time', async () => {
    const storage = fileSystemStorage<Order>({ directory: folder() });
    const first = queueOn('', { name: 'a', persistence: { storage } });
    const second = queueOn('', { name: 'b', persistence: { storage } });
    await first.queue.enqueue({ id: 1 });
    await expect(second.queue.enqueue({ id: 2 })).rejects.toMatchObject({ code: 'storage-locked' });
    await first.queue.close();
    await second.queue.enqueue({ id: 2 });
    await second.queue.drain();
    expect(second.processed).toEqual([2]);
    await second.queue.close();
  });

  it('shortens its log while it works, and stays small', async () => {
    const directory = folder();
    const { queue, processed } = queueOn(directory, { batchSize: 500 });
    await queue.enqueueMany(range(0, 30_000).map((id) => ({ id })));
    await queue.drain();
    await queue.saveState();
    expect(processed.length).toBe(30_000);
    // The log and the mark of the lock.
    expect((await readdir(directory)).length).toBe(2);
    const lines = (await readFile(await fileOf(directory, '.log'), 'utf8')).split('\n');
    // Each of the 30,000 items was at least one line.
    expect(lines.length).toBeLessThan(11_000);
    await queue.close();
  });

  it('a crash while the log is shortened leaves the log as it was: what lies aside is not read', async () => {
    const directory = folder();
    await leave(directory, [1, 2, 3]);
    const log = await fileOf(directory, '.log');
    const aside = `${log}.new`;
    // As far as a snapshot came that would have had item 3 alone.
    const line = (await readFile(log, 'utf8')).split('\n').find((text) => text.includes('"item":{"id":3}'))!;
    await writeFile(aside, line.slice(0, -5));
    const { queue, processed } = queueOn(directory);
    expect(await queue.loadState()).toEqual({ restored: 3, damage: [] });
    await queue.drain();
    expect(processed).toEqual([1, 2, 3]);
    await queue.close();
    expect((await readdir(directory)).map((name) => join(directory, name))).toEqual([log]);
  });

  it('one of two that start at once is refused, or both are: never do both write', async () => {
    const directory = folder();
    const children = await Promise.all(
      [0, 1_000_000].map((from) =>
        Child.start('test/integration/batching-file-child.ts', { directory, sync: true, saveInterval: 20, from }),
      ),
    );
    let over = 0;
    for (const { exited } of children) void exited.then(() => over++);
    await expect.poll(() => over + children.filter((child) => child.of('accepted').length > 0).length, { timeout: 20_000 }).toBe(2);
    expect(over).toBeGreaterThanOrEqual(1);
    for (const child of children) if (child.of('accepted').length === 0) expect(child.errors.join()).toContain('storage-locked');
    await Promise.all(children.map((child) => child.end()));
    const last = queueOn(directory);
    await last.queue.loadState();
    await last.queue.close();
  });

  it('a storage that fails is reported; with sync nothing is accepted that is not safe', async () => {
    let broken = true;
    const storage = memoryStorage<Order>();
    const flaky = {
      ...storage,
      sync: true,
      append: async (changes: never) => (broken ? Promise.reject(new Error('disk full')) : storage.append(changes)),
    };
    const { queue, processed } = queueOn('', { persistence: { storage: flaky } });
    await expect(queue.enqueue({ id: 1 })).rejects.toMatchObject({ code: 'storage-failed' });
    broken = false;
    await queue.enqueue({ id: 2 });
    await queue.drain();
    expect(processed).toEqual([2]);
    await queue.close();
    expect((await storage.load('orders')).items).toEqual([]);
  });

  it('shutdown and recovery by memoryStorage: the next queue goes on where the last one stopped', async () => {
    const storage = memoryStorage<Order>();
    const first = queueOn('', { persistence: { storage } });
    first.queue.pause();
    const handle = await first.queue.enqueue({ id: 7 });
    await first.queue.close();
    await expect(handle.result).rejects.toMatchObject({ code: 'queue-closed' });
    const second = queueOn('', { persistence: { storage } });
    expect((await second.queue.loadState()).restored).toBe(1);
    await second.queue.drain();
    expect(second.processed).toEqual([7]);
    await second.queue.close();
  });
});

/** Kills a process at random moments, each going on where the last was killed; every item is accounted for at the end. */
async function killAgainAndAgain(kills: number, options: { sync: boolean; saveInterval: number }) {
  const directory = folder();
  const accepted = new Map<number, number>();
  const processed = new Set<number>();
  const killedAt: number[] = [];
  const loaded: number[] = [];
  for (let round = 0; round < kills; round++) {
    const child = await Child.start('test/integration/batching-file-child.ts', { directory, ...options, from: round * 1_000_000 });
    await child.said('loaded');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * (options.sync ? 250 : 3 * options.saveInterval)));
    killedAt.push(Date.now());
    await child.end();
    for (const { ids, at } of child.of('accepted')) for (const id of ids as number[]) accepted.set(id, at as number);
    for (const { ids } of child.of('processed')) for (const id of ids as number[]) processed.add(id);
    loaded.push(child.of('loaded')[0]!.restored as number);
    expect(child.errors.filter((line) => line.includes('Error'))).toEqual([]);
  }
  const last = queueOn(directory);
  await last.queue.loadState();
  await last.queue.drain();
  await last.queue.close();
  for (const id of last.processed) processed.add(id);
  const lost = [...accepted.keys()].filter((id) => !processed.has(id));
  return { accepted, lost, killedAt, loaded };
}

describe('kill -9 at random moments', () => {
  it('with sync loses nothing that was accepted', async () => {
    const { accepted, lost, loaded } = await killAgainAndAgain(10, { sync: true, saveInterval: 1000 });
    expect(accepted.size).toBeGreaterThan(100);
    expect(loaded.some((restored) => restored > 0)).toBe(true);
    expect(lost).toEqual([]);
  }, 60_000);

  it('without sync loses at most what came within the last save interval', async () => {
    // Half of it is for the disk, which others use too.
    const saveInterval = 300;
    const { accepted, lost, killedAt, loaded } = await killAgainAndAgain(10, { sync: false, saveInterval });
    expect(accepted.size).toBeGreaterThan(100);
    expect(loaded.some((restored) => restored > 0)).toBe(true);
    // The line that tells of an acceptance comes after it, the kill after its time was noted.
    for (const id of lost) expect(killedAt[Math.floor(id / 1_000_000)]! - accepted.get(id)!).toBeLessThanOrEqual(saveInterval);
  }, 60_000);
});
