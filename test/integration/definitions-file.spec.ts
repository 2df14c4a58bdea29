import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Audit } from '../../apps/queue-manager/src/audit/audit.js';
import { DefinitionStore } from '../../apps/queue-manager/src/definitions/definition-store.js';
import { FileSource } from '../../apps/queue-manager/src/definitions/file-source.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

let site: Installation;
let store: DefinitionStore;
let folder: string;
let file: string;
const log = keepingLog();
const running: FileSource[] = [];

beforeAll(async () => {
  site = await Installation.open('file');
  store = new DefinitionStore(site.connection);
  folder = await mkdtemp(join(tmpdir(), 'jetlane-queues-'));
  file = join(folder, 'queues.yaml');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((source) => source.stop()));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await site.close();
});

const write = (...queues: string[]) => writeFile(file, ['queues:', ...queues.map((queue) => `  ${queue}`)].join('\n'));
async function source(): Promise<FileSource> {
  const started = new FileSource(site.connection, store, await Audit.open(site.connection), { file, lookMs: 50, log });
  running.push(started);
  await started.start();
  return started;
}
const workers = async (queue: string) => (await store.get(queue)).definition.workers;

describe('definitions from a file', () => {
  it('are there after the start, by several processes at once, and written once', async () => {
    await write('one: { workers: 1 }', 'two: { workers: 2 }');
    await Promise.all([source(), source(), source()]);
    expect([await workers('one'), await workers('two')]).toEqual([1, 2]);
    const { revision } = await store.get('one');
    await source();
    expect((await store.get('one')).revision).toBe(revision);
  });

  it('a change by the API holds over restarts, until the file says something new', async () => {
    await write('mixed: { workers: 1 }', 'other: { workers: 1 }');
    await source();
    await store.change('mixed', undefined, () => ({ name: 'mixed', workers: 9 }));
    await Promise.all(running.splice(0).map((one) => one.stop()));
    await source();
    expect(await workers('mixed')).toBe(9);
    await write('mixed: { workers: 1 }', 'other: { workers: 2 }');
    await eventually('the changed file is read', async () => (await workers('other')) === 2);
    expect(await workers('mixed')).toBe(9);
    await write('mixed: { workers: 3 }');
    await eventually('the file says something new', async () => (await workers('mixed')) === 3);
    expect(await workers('other')).toBe(2);
  });

  it('a file that goes wrong changes nothing, and is told once; at the start it is refused, and so is a missing one', async () => {
    await write('fine: { workers: 1 }');
    await source();
    const told = () => log.lines.filter(({ event }) => event === 'queues:file-not-read').length;
    await write('fine: { wrokers: 2 }');
    await eventually('it is told', () => told() === 1);
    await write('fine: { workers: 4 }');
    await eventually('it is right again', async () => (await workers('fine')) === 4);
    expect(told()).toBe(1);
    await write('fine: { wrokers: 2 }');
    await expect(source()).rejects.toThrow(/line 2: fine.wrokers: unknown field; did you mean "workers"\?/);
    await rm(file);
    await expect(source()).rejects.toThrow(/JETLANE_QUEUES_FILE names .* not there/);
  });
});
