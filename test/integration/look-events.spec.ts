import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect as connectSocket, type Socket } from 'node:net';
import { TaskStore } from '@jetlane/jetstream';
import type { StateRecord } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture } from './gateway-fixture.js';
import { eventually } from './services-fixture.js';

interface Told {
  readonly event: string;
  readonly id?: string;
  readonly data: Record<string, unknown>;
}

/** A client of the event stream, with a connection of its own: `fetch` opens some in advance, which the gateway then waits for. */
class Listener {
  readonly events: Told[] = [];
  readonly comments: string[] = [];
  private rest = '';

  private constructor(private readonly response: IncomingMessage) {
    response.setEncoding('utf8');
    response.on('error', () => undefined);
    response.on('data', (text: string) => this.read(text));
  }

  static async open(path: string, headers: Record<string, string> = {}): Promise<Listener> {
    const [response] = (await once(request(gateway.url + path, { headers, agent: false }).end(), 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const listener = new Listener(response);
    listeners.push(listener);
    return listener;
  }

  of(event: string): Told[] {
    return this.events.filter((told) => told.event === event);
  }

  close(): void {
    this.response.destroy();
  }

  private read(text: string): void {
    const parts = (this.rest + text).split('\n\n');
    this.rest = parts.pop() ?? '';
    for (const part of parts) this.take(part);
  }

  private take(part: string): void {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(part)?.[1];
    const [event, data, id] = [field('event'), field('data'), field('id')];
    if (event && data) this.events.push({ event, data: JSON.parse(data) as Told['data'], ...(id ? { id } : {}) });
    else this.comments.push(part);
  }
}

let gateway: GatewayFixture;
let store: TaskStore;
const listeners: Listener[] = [];

beforeAll(async () => {
  gateway = await GatewayFixture.start();
  store = new TaskStore(gateway.admin);
});
afterEach(() => listeners.splice(0).forEach((listener) => void listener.close()));
afterAll(() => gateway.stop());

function finish(id: string, fields: Partial<StateRecord> = {}): Promise<unknown> {
  const [queue, key] = id.split('.') as [string, string];
  return store.writeRecord(queue, key, { id, hop: 1, type: 't', state: 'completed', attempt: 1, at: { finished: 5 }, ...fields }, 600_000);
}

const idsOf = (told: readonly Told[]) => told.map(({ data }) => data.id);

describe('GET /api/v1/events', () => {
  it('tells records as they are written, and goes on behind Last-Event-ID', async () => {
    await finish('default.before');
    const first = await Listener.open('/api/v1/events');
    await eventually('the figures come', () => first.of('queues').length > 0);
    await finish('default.e1', { state: 'dead', reason: 'poison', error: { name: 'Error', message: 'no' }, lane: 'low' });
    await finish('typed.e2');
    await eventually('both came', () => first.of('task').length === 2);
    const [one, two] = first.of('task');
    expect(one?.data).toEqual({
      ...{ id: 'default.e1', queue: 'default', state: 'dead', type: 't', lane: 'low', attempt: 1, hop: 1 },
      ...{ error: 'Error: no', reason: 'poison', at: { finished: 5 } },
    });
    expect(Number(two?.id)).toBeGreaterThan(Number(one?.id));
    first.close();
    await finish('default.e3');
    const second = await Listener.open('/api/v1/events', { 'last-event-id': one?.id ?? '' });
    await eventually('what was missed came', () => second.of('task').length === 2);
    expect(idsOf(second.of('task'))).toEqual(['typed.e2', 'default.e3']);
    expect(second.of('gap')).toEqual([]);
  });

  it('by queue: its tasks and its figures; about: one of the two', async () => {
    const both = await Listener.open('/api/v1/events?queue=typed');
    const tasks = await Listener.open('/api/v1/events?about=tasks');
    await eventually('figures', () => both.of('queues').length > 0);
    await finish('default.q1');
    await finish('typed.q2');
    await eventually('tasks', () => idsOf(tasks.of('task')).includes('typed.q2') && both.of('task').length > 0);
    expect(idsOf(both.of('task'))).toEqual(['typed.q2']);
    expect(idsOf(tasks.of('task'))).toEqual(['default.q1', 'typed.q2']);
    expect(tasks.of('queues')).toEqual([]);
    const names = both.of('queues').flatMap(({ data }) => (data.queues as { queue_name: string }[]).map(({ queue_name }) => queue_name));
    expect(new Set(names)).toEqual(new Set(['typed']));
  });

  it('one task, from waiting over its progress to its end', async () => {
    let finishIt: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      finishIt = resolve;
    });
    const { body } = await gateway.post('/api/queue/enqueue', { queue_name: 'typed', task_data: 1 });
    const id = String(body.task_id);
    const listener = await Listener.open(`/api/v1/events?task=${id}`);
    const states = () => listener.of('task').map(({ data }) => data.state);
    await eventually('it waits', () => states().includes('queued'));
    const worker = new Worker(gateway.admin, {
      queue: 'typed',
      handlers: {
        echo: async (_, context) => {
          context.progress(40);
          await gate;
        },
      },
    });
    await worker.start();
    await eventually('it runs', () => listener.of('task').some(({ data }) => data.state === 'running' && data.progress === 40));
    finishIt();
    await eventually('it is done', () => states().at(-1) === 'completed');
    expect([...new Set(states())]).toEqual(['queued', 'running', 'completed']);
    expect(states().filter((state) => state === 'completed')).toHaveLength(1);
    expect(listener.of('task').at(-1)?.id).toMatch(/^\d+$/);
    expect(listener.of('queues')).toEqual([]);
    await worker.stop();
  });

  it.each([
    ['/api/v1/events?queue=nosuch', {}, 404, 'unknown-queue'],
    ['/api/v1/events?queue=No+Name', {}, 400, 'invalid-argument'],
    ['/api/v1/events?task=x', {}, 400, 'invalid-argument'],
    ['/api/v1/events?about=weather', {}, 400, 'invalid-argument'],
    ['/api/v1/events', { 'last-event-id': '-1' }, 400, 'invalid-argument'],
    ['/api/v1/events', { 'last-event-id': 'abc' }, 400, 'invalid-argument'],
  ])('refuses %s %j', async (path, headers, status, code) => {
    expect(await gateway.get(path, headers as Record<string, string>)).toMatchObject({ status, body: { code } });
  });

  it('a position that the stream never had is a gap, and the stream goes on', async () => {
    const listener = await Listener.open('/api/v1/events', { 'last-event-id': '900000000' });
    await eventually('told', () => listener.of('gap').length === 1);
    await finish('default.after-gap');
    await eventually('goes on', () => idsOf(listener.of('task')).includes('default.after-gap'));
    expect(listener.of('gap')).toHaveLength(1);
  });

  it('a client that does not read costs bounded memory, and hears of the gap when it does', async () => {
    const { socket, text, buffered } = await silentClient();
    const pad = 'x'.repeat(400);
    for (let i = 0; i < 26_000; i += 1000)
      await Promise.all(Array.from({ length: 1000 }, (_, k) => finish(`default.slow${i + k}`, { reason: pad, state: 'cancelled' })));
    // 26,000 events of 550 bytes: kept for the client they would be some 14 MB.
    expect(buffered()).toBeLessThan(2 * 1024 ** 2);
    socket.resume();
    await eventually('the gap is told', () => text().includes('event: gap'));
    await finish('default.at-the-end');
    await eventually('the stream goes on', () => text().includes('default.at-the-end'));
    const missed = [...text().matchAll(/event: gap\ndata: \{"missed":(\d+)\}/g)].map(([, count]) => Number(count));
    expect(missed[0]).toBeGreaterThan(20_000);
    const got = text().match(/event: task/g)?.length ?? 0;
    // A gap counts what was there when it came; what was written in that moment may be told too.
    expect(got + missed.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(26_001);
    socket.destroy();
  });

  it('ends when the gateway stops', async () => {
    const other = await GatewayFixture.start({}, gateway.nats);
    const response = await fetch(`${other.url}/api/v1/events`);
    const reading = response.text();
    const startedAt = Date.now();
    await other.stop({ keepNats: true });
    expect(await reading).toContain('retry: 2000');
    expect(Date.now() - startedAt).toBeLessThan(10_000);
  });
});

/** Opens a stream and then takes nothing from its socket until it is told to. */
async function silentClient(): Promise<{ socket: Socket; text: () => string; buffered: () => number }> {
  let text = '';
  let silent = false;
  const accepted = once(gateway.service.app.getHttpServer(), 'connection') as Promise<[Socket]>;
  const socket = connectSocket(gateway.port, '127.0.0.1');
  socket.setEncoding('utf8');
  socket.on('data', (part: string) => {
    text += part;
    if (!silent && text.includes('retry: ')) {
      silent = true;
      socket.pause();
    }
  });
  socket.write(`GET /api/v1/events?about=tasks HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n\r\n`);
  await eventually('the stream is open', () => socket.isPaused());
  const [served] = await accepted;
  return { socket, text: () => text, buffered: () => served.writableLength };
}
