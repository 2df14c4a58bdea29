import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Connection, ensureQueue } from '@jetlane/jetstream';
import { Worker } from '@jetlane/worker';
import { Scheduler } from '@jetlane/worker/scheduler';
import { nkeys } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Frame, PlainSocket } from '../interop/plain-socket.js';
import { Broker } from '../support/broker.js';
import { eventually } from '../support/wait-until.js';
import { NAMESPACE, UsersSite } from './nats-users-fixture.js';

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL('../interop/producer.c', import.meta.url));
const LIBNATS = '/usr/include/nats/nats.h';
const hasLibnats = existsSync(LIBNATS);
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const echo = { echo: async (data: unknown) => data };
const PATIENCE = { timeoutMs: 60_000, everyMs: 25 };

/** What docs/protocol.md says that a record has. */
const RECORD = { hop: 1, lane: 'high', type: 'echo', state: 'completed', attempt: 1, at: { finished: expect.any(Number) } };

async function work(connection: Connection): Promise<Worker> {
  const worker = new Worker(connection, { queue: 'wire', handlers: echo });
  await worker.start();
  return worker;
}

async function define(connection: Connection): Promise<void> {
  for (const name of ['wire', 'default']) await ensureQueue(connection, { name });
  await ensureQueue(connection, { name: 'tiny', maxDepth: 1 });
}

if (!hasLibnats)
  console.warn(`\n!! The wire contract is not tried from C: ${LIBNATS} is missing (apt-get install libnats-dev gcc libc6-dev)\n`);

describe.skipIf(!hasLibnats)('a C program on libnats, under the key of the producer', () => {
  let site: UsersSite;
  let worker: Worker;
  let dir: string;
  let lines: Record<string, string> = {};

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'jetlane-interop-'));
    site = await UsersSite.start();
    await define(await site.connect('queue-manager'));
    worker = await work(await site.connect('worker'));
    const program = join(dir, 'producer');
    await run('cc', ['-Wall', '-Wextra', '-Werror', '-o', program, SOURCE, '-lnats']);
    const seed = site.seed('producer');
    const key = nkeys.fromSeed(Buffer.from(readFileSync(seed, 'utf8').trim())).getPublicKey();
    const { stdout } = await run(program, [site.nats.url, key, seed, NAMESPACE, 'producer']);
    lines = Object.fromEntries(stdout.split('\n').map((line) => [line.split(' ')[0], line.slice(line.indexOf(' ') + 1)]));
  });
  afterAll(async () => {
    await worker?.stop();
    await site?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('has its task stored once: the PubAck names stream and sequence, and tells a repeat', () => {
    expect(lines.duplicate).toBe(`${NAMESPACE}_tasks_wire_high #1`);
  });

  it('reads the outcome: told to its inbox, and in the record', () => {
    const record = { ...RECORD, id: 'wire.c-1', group: 'c', result: { from: 'C' } };
    expect(JSON.parse(lines.outcome ?? '{}')).toMatchObject(record);
    expect(JSON.parse(lines.record ?? '{}')).toMatchObject(record);
    expect(lines.unknown).toBe('Not Found');
  });

  it('is told that a lane is full, and needed no permission that it has not', () => {
    expect(lines).toMatchObject({ stored: `${NAMESPACE}_tasks_tiny_low #1`, full: '10077' });
    expect(site.violations()).toEqual([]);
  });
});

describe('a plain socket', () => {
  let broker: Broker;
  let plain: PlainSocket;
  let worker: Worker;
  let scheduler: Scheduler;

  beforeAll(async () => {
    broker = await Broker.start('');
    const connection = await broker.connect();
    await define(connection);
    worker = await work(connection);
    scheduler = new Scheduler(connection, { log: silent });
    await scheduler.start();
    plain = await PlainSocket.open(broker.server.port);
  });
  afterAll(async () => {
    plain?.close();
    await scheduler?.stop();
    await worker?.stop();
    await broker?.stop();
  });

  const json = ({ body }: Frame) => JSON.parse(body) as Record<string, unknown>;
  const submit = (key: string, headers: [string, string][]) =>
    plain.ask(`tasks.wire.high.${key}`, '{"from":"socket"}', [['Task-Type', 'echo'], ...headers]);
  const record = (key: string) => plain.ask(`$JS.API.DIRECT.GET.task_states.states.wire.${key}`, '');

  it('stores a task, is told its outcome and reads its record', async () => {
    const { subject, frame } = plain.expect();
    const headers: [string, string][] = [
      ['Nats-Msg-Id', 's-1#1'],
      ['Task-Reply', subject],
      ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
    ];
    expect(json(await submit('s-1', headers))).toEqual({ stream: 'tasks_wire_high', seq: 1 });
    const told = json(await frame);
    expect(told).toMatchObject({ ...RECORD, id: 'wire.s-1', result: { from: 'socket' }, trace: '4bf92f3577b34da6a3ce929d0e0e4736' });
    const stored = await record('s-1');
    expect(stored.headers).toMatch(/^NATS\/1\.0\r\n[\s\S]*Nats-Subject: states\.wire\.s-1\r\n/);
    expect(json(stored)).toMatchObject({ id: 'wire.s-1', state: 'completed' });
    expect(json(await submit('s-1', headers))).toEqual({ stream: 'tasks_wire_high', seq: 1, duplicate: true });
  });

  it('stores the task of the documentation, byte for byte', async () => {
    const page = readFileSync(fileURLToPath(new URL('../../docs/protocol.md', import.meta.url)), 'utf8');
    const [, frames = ''] = /^```\n(SUB [\s\S]*?)^```$/m.exec(page) ?? [];
    const { frame } = plain.expect('_INBOX.me.1');
    plain.type(frames);
    expect(json(await frame)).toEqual({ stream: 'tasks_default_high', seq: 1 });
  });

  it('stores a task for later, once', async () => {
    const set = () =>
      plain.ask('schedules.wire.s-2', '{"from":"later"}', [
        ['Nats-Schedule', `@at ${new Date(Date.now() + 200).toISOString()}`],
        ['Nats-Schedule-Target', 'due.wire.high.s-2'],
        ['Nats-Expected-Last-Subject-Sequence', '0'],
        ['Task-Type', 'echo'],
      ]);
    expect(json(await set())).toMatchObject({ stream: 'schedules' });
    expect(json(await set())).toMatchObject({ error: { err_code: 10071 } });
    const done = async () => (await record('s-2')).body.includes('"completed"');
    await eventually('the later task is done', done, PATIENCE);
  });

  it('is told what it did wrong', async () => {
    expect((await record('nobody')).headers).toMatch(/^NATS\/1\.0 404 /);
    expect((await plain.ask('tasks.nowhere.high.s-3', '{}', [['Task-Type', 'echo']])).headers).toMatch(/^NATS\/1\.0 503/);
    await plain.ask('tasks.tiny.low.s-4', '4', [['Task-Type', 'echo']]);
    expect(json(await plain.ask('tasks.tiny.low.s-5', '5', [['Task-Type', 'echo']]))).toMatchObject({
      error: { code: 503, err_code: 10077 },
    });
    expect(json(await submit('s-6', [['Nats-Expected-Stream', 'other']]))).toMatchObject({ error: { err_code: 10060 } });
    expect(plain.errors).toEqual([]);
  });
});
