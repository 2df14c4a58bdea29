import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveWorkersComponent } from '../../apps/queue-manager/src/live/live-component.js';
import { SearchComponent } from '../../apps/queue-manager/src/search/search-component.js';
import { GatewayFixture, type Json } from './gateway-fixture.js';
import { keepingLog } from './services-fixture.js';

let gateway: GatewayFixture;
const parts: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  gateway = await GatewayFixture.start();
  const live = new LiveWorkersComponent(gateway.admin);
  const search = new SearchComponent(gateway.admin, { log: keepingLog(), alive: (queue) => live.workers.alive(queue) });
  for (const part of [live, search]) {
    await part.start();
    parts.push(part);
  }
  for (const priority of ['LOW', 'HIGH', 'NORMAL'])
    await gateway.enqueue({
      queue_name: 'default',
      task_type: 'look',
      task_id: priority.toLowerCase(),
      task_data: { city: 'Köln' },
      priority,
    });
});
afterAll(async () => {
  for (const part of parts) await part.stop();
  await gateway.stop();
});

describe('looking over HTTP', () => {
  it('pages through tasks; every condition is a word of the query', async () => {
    const query = 'queue=default&type=look&state=queued,%20retrying&from=2020-01-01T00:00:00Z&to=99999999999999&payload=K%C3%B6ln&limit=2';
    const first = await gateway.get(`/api/v1/tasks?${query}`);
    expect(first.status).toBe(200);
    expect((first.body.items as Json[]).map(({ id, lane, state }) => [id, lane, state])).toEqual([
      ['default.high', 'high', 'queued'],
      ['default.normal', 'normal', 'queued'],
    ]);
    const rest = await gateway.get(`/api/v1/tasks?${query}&cursor=${String(first.body.cursor)}`);
    expect((rest.body.items as Json[]).map(({ id }) => id)).toEqual(['default.low']);
    expect(rest.body).not.toHaveProperty('cursor');
    expect(rest.body).toMatchObject({ not_searched: [], projection: { state: 'off' } });
  });

  it.each([
    ['/api/v1/tasks?state=queued,finished', 400, 'invalid-argument', 'expected one or more of running, queued'],
    ['/api/v1/tasks?from=yesterday', 400, 'invalid-argument', 'ISO 8601'],
    ['/api/v1/tasks?limit=100000', 400, 'invalid-argument', 'limit'],
    ['/api/v1/tasks?cursor=x', 400, 'invalid-argument', 'cursor'],
    ['/api/v1/tasks?typ=look', 400, 'invalid-argument', 'did you mean \\"type\\"'],
    ['/api/v1/workers?state=dead', 400, 'invalid-argument', 'live'],
    ['/api/v1/queues/default/workers/nobody', 404, 'worker-not-found', 'workers.list'],
  ])('%s is told', async (path, status, code, text) => {
    const answer = await gateway.get(path);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.text).toContain(text);
  });

  it('workers and the state of the search', async () => {
    expect((await gateway.get('/api/v1/workers')).body).toEqual({ items: [], total: 0 });
    expect((await gateway.get('/api/v1/search')).body).toMatchObject({ state: 'off', rows: 0, detail: 'JETLANE_SEARCH=off' });
  });
});
