import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'vite';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { BatchedQueue, type BatchedQueueOptions, type BatchHandle, BatchingError, type BatchResult, memoryStorage } from './index.js';

const good = { name: 'q', processor: (items: readonly number[]) => items.map(() => ({ success: true as const })) };

function problemsOf(options: object): readonly string[] {
  try {
    new BatchedQueue(options as BatchedQueueOptions<number>);
  } catch (error) {
    expect(error).toBeInstanceOf(BatchingError);
    return (error as BatchingError).details.problems as string[];
  }
  return [];
}

describe('options', () => {
  it('need a name and a processor, and have defaults for the rest', () => {
    expect(problemsOf(good)).toEqual([]);
    expect(problemsOf({})).toEqual([
      expect.stringContaining('expected processor to be a function; got undefined'),
      expect.stringContaining('expected name'),
    ]);
  });

  it('are checked all together, with what was expected, what came and what may have been meant', () => {
    const problems = problemsOf({
      ...good,
      name: 'no spaces please',
      batchSize: 0,
      flushInterval: '5 parsecs',
      dropBehavior: 'drop-oldst',
      batchSiez: 5,
      hooks: { onDorp: () => 0, onError: 'log' },
      retryStrategy: { backoff: { jitter: 2, inital: 5 } },
      rateLimit: { items: 5 },
      persistence: { storage: {} },
    });
    for (const part of [
      'expected batchSize to be a whole number from 1 to 1000000; got 0',
      'expected flushInterval to be milliseconds from 0, or a number with ms, s, m, h or d, as in "5s"; got "5 parsecs"',
      'expected dropBehavior to be reject-new, drop-oldest, wait; got "drop-oldst", did you mean "drop-oldest"?',
      'unknown option batchSiez, did you mean "batchSize"?',
      'unknown option hooks.onDorp, did you mean "onDrop"?',
      'expected hooks.onError to be a function; got "log"',
      'expected retryStrategy.backoff.jitter to be a number from 0 to 1; got 2',
      'unknown option retryStrategy.backoff.inital',
      'expected rateLimit.interval',
      'expected persistence.storage to be a storage',
      'expected name to be letters',
    ])
      expect(
        problems.some((problem) => problem.startsWith(part)),
        `${part} in\n${problems.join('\n')}`,
      ).toBe(true);
    expect(problems.length).toBe(11);
  });

  it('refuse what cannot be: groups that are no objects, priorities that are none', async () => {
    expect(problemsOf({ ...good, hooks: 5 })).toEqual([expect.stringContaining('expected hooks to be an object; got 5')]);
    expect(problemsOf({ ...good, priorityLevels: 2, defaultPriority: 2 })).toEqual([expect.stringContaining('from 0 to 1; got 2')]);
    await using queue = new BatchedQueue(good);
    await expect(queue.enqueue(1, 3)).rejects.toMatchObject({ code: 'invalid-options' });
    await expect(queue.enqueue(1, 0.5)).rejects.toMatchObject({ code: 'invalid-options' });
  });

  it('persistence can be switched off by configuration', async () => {
    const storage = memoryStorage<number>();
    const queue = new BatchedQueue({ ...good, persistence: { enabled: false, storage } });
    queue.pause();
    await queue.enqueue(1);
    await queue.close();
    expect((await storage.load('q')).items).toEqual([]);
  });

  it('maxBytes bounds what waits, and refuses what can never fit', async () => {
    const queue = new BatchedQueue<string>({ name: 'bytes', maxBytes: 20, processor: (items) => items.map(() => ({ success: true })) });
    queue.pause();
    await queue.enqueue('123456');
    await queue.enqueue('123456');
    await expect(queue.enqueue('123456')).rejects.toMatchObject({ code: 'queue-full', details: { limit: 'maxBytes' } });
    await expect(queue.enqueue('x'.repeat(19))).rejects.toMatchObject({ code: 'item-too-large' });
    expect(queue.stats().bytes).toBe(16);
    queue.resume();
    await queue.drain();
    expect(queue.stats()).toMatchObject({ bytes: 0, succeeded: 2, size: 0, running: 0, successRate: 1 });
    await queue.close();
  });

  it('close fires the signal, waits for its batch, and leaves nothing unsaid', async () => {
    const dropped: number[] = [];
    let aborted = false;
    const queue = new BatchedQueue<number>({
      name: 'closing',
      batchSize: 1,
      flushInterval: 0,
      hooks: { onDrop: (item, reason) => void dropped.push(reason === 'closed' ? item : -1) },
      processor: async (items, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        aborted = true;
        return items.map(() => ({ success: true }));
      },
    });
    const [first, second] = [await queue.enqueue(1), await queue.enqueue(2)];
    await expect.poll(() => queue.stats().running).toBe(1);
    await queue.close();
    expect(aborted).toBe(true);
    await first!.result;
    await expect(second!.result).rejects.toMatchObject({ code: 'queue-closed' });
    expect(dropped).toEqual([2]);
    await expect(queue.enqueue(3)).rejects.toMatchObject({ code: 'queue-closed' });
    await queue.close();
  });
});

describe('types', () => {
  it('follow the item and the result', () => {
    expectTypeOf<BatchedQueue<string, number>['enqueue']>().returns.resolves.toEqualTypeOf<BatchHandle<number>>();
    expectTypeOf<BatchHandle<number>['result']>().resolves.toBeNumber();
    expectTypeOf<BatchedQueue<string>['enqueue']>().returns.resolves.toEqualTypeOf<BatchHandle<void>>();
    expectTypeOf<BatchedQueue<string>['enqueue']>().parameter(0).toBeString();
    expectTypeOf<{ success: true }>().toExtend<BatchResult>();
    expectTypeOf<{ success: true; value: number }>().toExtend<BatchResult<number>>();
    expectTypeOf<{ success: false; error: Error; retryable: false }>().toExtend<BatchResult<number>>();
    // A queue with results wants a value with every success.
    expectTypeOf<{ success: true }>().not.toExtend<BatchResult<number>>();
    expectTypeOf<{ success: true; value: string }>().not.toExtend<BatchResult<number>>();
    expectTypeOf<{ name: 'q'; rateLimit: { items: 5 } }>().not.toExtend<Pick<BatchedQueueOptions<Date>, 'name' | 'rateLimit'>>();
    expectTypeOf<BatchedQueueOptions<Date>['flushInterval']>().toEqualTypeOf<number | string | undefined>();
    expectTypeOf<BatchedQueueOptions<Date>['dropBehavior']>().toEqualTypeOf<'reject-new' | 'drop-oldest' | 'wait' | undefined>();
    expectTypeOf<Parameters<NonNullable<BatchedQueueOptions<Date>['batchingStrategy']>>[0]>().toEqualTypeOf<readonly Date[]>();
  });

  it('are held by the compiler too', async () => {
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    const project = fileURLToPath(new URL('../tsconfig.types.json', import.meta.url));
    const run = promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript7/bin/tsc'), '-p', project]);
    await expect(run).resolves.toMatchObject({ stdout: '' });
  }, 60_000);
});

describe('the main entry', () => {
  it('runs in a folder without any package', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'jetlane-alone-'));
    try {
      await build({
        configFile: false,
        logLevel: 'error',
        build: {
          ssr: fileURLToPath(new URL('index.ts', import.meta.url)),
          outDir: folder,
          rollupOptions: { output: { entryFileNames: 'batching.mjs' } },
        },
      });
      const bundle = await readFile(join(folder, 'batching.mjs'), 'utf8');
      expect([...bundle.matchAll(/from ["']([^"']+)["']/g)].map(([, name]) => name).filter((name) => !name?.startsWith('node:'))).toEqual(
        [],
      );
      await writeFile(
        join(folder, 'main.mjs'),
        `import { BatchedQueue } from './batching.mjs';
         const queue = new BatchedQueue({ name: 'q', processor: (items) => items.map((value) => ({ success: true, value })) });
         const handle = await queue.enqueue(42);
         await queue.flush();
         console.log(await handle.result);
         await queue.close();`,
      );
      const { stdout } = await promisify(execFile)(process.execPath, ['main.mjs'], { cwd: folder });
      expect(stdout.trim()).toBe('42');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }, 30_000);

  it('depends on nothing', async () => {
    const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as object;
    expect(Object.keys(manifest).filter((field) => /dependencies/i.test(field))).toEqual([]);
  });
});
