import { JetlaneAdmin } from '@jetlane/client';
import { deathHeaders, TaskStore } from '@jetlane/jetstream';
import { type RunningService, startService } from '@jetlane/nestjs/service';
import type { HeaderPair } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ResiliencyConfig, resiliencyConfig } from '../../apps/resiliency/src/config.js';
import { resiliencyService } from '../../apps/resiliency/src/service.js';
import { GatewayFixture, type Json } from './gateway-fixture.js';
import { eventually } from './services-fixture.js';

let gateway: GatewayFixture;
let resiliency: RunningService<ResiliencyConfig>;
const PATH = '/api/v1/dead-letters';
const startResiliency = () =>
  startService(
    resiliencyService(resiliencyConfig({ RESILIENCY_PORT: '0', NATS_URL: gateway.nats.url, LOG_LEVEL: 'silent', LOG_FORMAT: 'json' })),
  );

beforeAll(async () => {
  gateway = await GatewayFixture.start();
  resiliency = await startResiliency();
});

afterAll(async () => {
  await resiliency.stop();
  await gateway.stop();
});

/** A dead letter as workers write them. @returns its task's id */
async function bury(
  key: string,
  { queue = 'default', type = 'mail', headers = [] as HeaderPair[], body = '{"n":1}' as string | Uint8Array } = {},
) {
  const error = { name: 'Error', message: 'no luck', stack: 'Error: no luck\n at x.js:1' };
  const source = { stream: gateway.admin.names.lane(queue, 'normal').stream, sequence: 999_999 };
  await new TaskStore(gateway.admin).publishDead(queue, key, {
    headers: [['Task-Type', type], ...headers],
    data: body,
    hop: 1,
    extra: deathHeaders({ reason: 'attempts-exhausted', error, at: Date.now(), source, lane: 'normal', type }),
  });
  return `${queue}.${key}`;
}

const status = async (id: string) => (await gateway.get(`/api/queue/status/${id}`)).body;
const itemsOf = (body: Json) => body.items as Json[];
const problems = (body: Json) => (body.errors as Json[]).map(({ path }) => path);

async function jobEnded(location: string | null): Promise<Json> {
  let job: Json = {};
  await eventually('the job has ended', async () => {
    job = (await gateway.get(location ?? '')).body;
    return job.state !== 'running';
  });
  return job;
}

describe('a task that dies', () => {
  it('is listed, redriven, queued, and completed with its history', async () => {
    let mended = false;
    const handlers = {
      fragile: async () => {
        if (!mended) throw new Error('not yet');
        return 'done';
      },
    };
    const worker = new Worker(gateway.admin, { queue: 'typed', handlers });
    await worker.start();
    const { body } = await gateway.post('/api/queue/enqueue?wait=10s', { queue_name: 'typed', task_type: 'fragile' });
    const id = String(body.task_id);
    expect(body.state).toBe('dead');
    const listed = await gateway.get(`${PATH}?queue_name=typed&task_type=fragile`);
    expect(itemsOf(listed.body)).toMatchObject([
      { task_id: id, reason: 'attempts-exhausted', history: [{ message: 'not yet', attempt: 1 }] },
    ]);
    expect(listed.text).not.toContain('stack');
    expect((await gateway.get(`${PATH}/${id}`)).text).toContain('gateway-dead-letters.spec');
    await worker.stop();
    mended = true;
    expect((await gateway.post(`${PATH}/redrive`, { task_id: id })).body).toEqual({
      task_id: id,
      hop: 2,
      lane: 'normal',
      duplicate: false,
    });
    expect(await status(id)).toMatchObject({ state: 'queued', hop: 2, attempt: 1, history: [{ message: 'not yet' }] });
    const again = new Worker(gateway.admin, { queue: 'typed', handlers });
    await again.start();
    await eventually('it is completed', async () => (await status(id)).state === 'completed');
    expect(await status(id)).toMatchObject({ hop: 2, result: 'done', history: [{ message: 'not yet' }] });
    await again.stop();
  });
});

describe('GET', () => {
  it('filters and pages', async () => {
    for (let i = 0; i < 5; i++) await bury(`page${i}`, { type: 'paged' });
    const first = await gateway.get(`${PATH}?queue_name=default&task_type=paged&limit=3&from=2020-01-01T00:00:00Z`);
    expect([first.status, itemsOf(first.body).length, first.body.total]).toEqual([200, 3, { count: 3, exact: false }]);
    const second = await gateway.get(`${PATH}?task_type=paged&cursor=${first.body.cursor}`);
    expect(itemsOf(second.body).map(({ task_id }) => task_id)).toEqual(['default.page3', 'default.page4']);
    expect(second.body.cursor).toBeUndefined();
  });

  it('shows one with its payload', async () => {
    const id = await bury('bytes', { headers: [['Content-Type', 'image/png']], body: new Uint8Array([1, 255]) });
    expect((await gateway.get(`${PATH}/${id}`)).body).toMatchObject({ task_id: id, base64: 'Af8=', content_type: 'image/png', bytes: 2 });
    expect((await gateway.get(`${PATH}/${await bury('json')}`)).body).toMatchObject({ task_data: { n: 1 } });
    const none = await gateway.get(`${PATH}/default.none`);
    expect([none.status, none.body.code]).toEqual([404, 'dead-letter-not-found']);
  });

  it('exports as NDJSON, payloads included, with a summary at the end', async () => {
    for (let i = 0; i < 250; i++) await bury(`export${i}`, { type: 'exported' });
    const { status, headers, text } = await gateway.get(`${PATH}/export?task_type=exported`);
    expect([status, headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    expect(lines).toHaveLength(251);
    expect(lines[0]).toMatchObject({ task_id: 'default.export0', task_data: { n: 1 } });
    expect(lines.at(-1)).toEqual({ summary: { exported: 250, complete: true } });
    const rest = (await gateway.get(`${PATH}/export?task_type=exported&cursor=${lines[199]!.sequence}`)).text.trimEnd().split('\n');
    expect(rest).toHaveLength(51);
  });

  it.each([
    ['?limit=0', 'limit'],
    ['?limit=1001', 'limit'],
    ['?limit=1e2', 'limit'],
    ['?limit=5&limit=6', 'limit'],
    ['?cursor=-1', 'cursor'],
    ['?cursor=99999999999999999', 'cursor'],
    ['?queue_name=A.>', 'queue_name'],
    ['?from=soon', 'from'],
    ['?queue=default', 'queue'],
    ['/export?limit=5', 'limit'],
    ['/default..x', 'task_id'],
    ['/default.*', 'task_id'],
  ])('refuses %s', async (tail, path) => {
    const { status, body } = await gateway.get(PATH + tail);
    expect([status, body.code, problems(body)]).toEqual([400, 'invalid-argument', [path]]);
  });
});

describe('redrive and discard', () => {
  it('edited, into another lane, and as a dry run', async () => {
    const id = await bury('edit');
    const dry = await gateway.post(`${PATH}/redrive`, { task_id: id, lane: 'HIGH', dry_run: true });
    expect([dry.status, dry.body]).toEqual([200, { task_id: id, hop: 2, lane: 'high', duplicate: false, dry_run: true }]);
    expect((await gateway.post(`${PATH}/redrive`, { task_id: id, lane: 4, task_data: null })).body).toMatchObject({ lane: 'critical' });
    expect(await status(id)).toMatchObject({ state: 'queued', lane: 'critical' });
  });

  it('by filter: a preview, then a job', async () => {
    for (let i = 0; i < 12; i++) await bury(`many${i}`, { type: 'crowd' });
    const filter = { task_type: 'crowd' };
    const preview = await gateway.post(`${PATH}/redrive`, { filter, dry_run: true });
    expect([preview.status, preview.body]).toMatchObject([
      200,
      { dry_run: true, matched: { count: 12, exact: true }, sample: { length: 12 } },
    ]);
    const begun = await gateway.post(`${PATH}/redrive`, { filter, rate: 500, lane: 'low' });
    expect([begun.status, begun.body.state]).toEqual([202, 'running']);
    const job = await jobEnded(begun.headers.get('location'));
    expect(job).toMatchObject({
      state: 'completed',
      moved: 12,
      failed: 0,
      filter,
      rate: 500,
      by: `http 127.0.0.1, request ${begun.headers.get('x-request-id')}`,
    });
    expect(((await gateway.get(`${PATH}/jobs`)).body.jobs as Json[]).map(({ job_id }) => job_id)).toContain(job.job_id);
    expect(await status('default.many3')).toMatchObject({ state: 'queued', lane: 'low', hop: 2 });
  });

  it('a job is cancelled by DELETE; one that nobody began is a 404', async () => {
    for (let i = 0; i < 5; i++) await bury(`slow${i}`, { type: 'slow' });
    const begun = await gateway.post(`${PATH}/redrive`, { filter: { task_type: 'slow' }, rate: 0.5 });
    const location = begun.headers.get('location') ?? '';
    expect((await gateway.call('DELETE', location)).status).toBe(200);
    expect((await jobEnded(location)).state).toBe('cancelled');
    for (const method of ['GET', 'DELETE']) {
      const { status, body } = await gateway.call(method, `${PATH}/jobs/none`);
      expect([status, body.code]).toEqual([404, 'job-not-found']);
    }
  });

  it('a full lane: 429 for one, a stopped job for many', async () => {
    for (let i = 0; i < 4; i++) await bury(`full${i}`, { queue: 'tiny' });
    const job = await jobEnded((await gateway.post(`${PATH}/redrive`, { filter: { queue_name: 'tiny' } })).headers.get('location'));
    expect(job).toMatchObject({
      state: 'stopped',
      moved: 2,
      left: { count: 2, exact: true },
      error: { code: 'queue-full' },
      cursor: expect.any(Number),
    });
    const one = await gateway.post(`${PATH}/redrive`, { task_id: 'tiny.full3' });
    expect([one.status, one.body.code, one.headers.get('retry-after')]).toEqual([429, 'queue-full', '1']);
  });

  it('discards by DELETE and by POST; the status stays dead', async () => {
    const id = await bury('away');
    expect((await gateway.post(`${PATH}/discard`, { task_id: id, dry_run: true })).body).toMatchObject({ discarded: false, dry_run: true });
    const { status: code, body } = await gateway.call('DELETE', `${PATH}/${id}`);
    expect([code, body]).toEqual([200, { task_id: id, discarded: true }]);
    expect(await status(id)).toMatchObject({ state: 'dead', reason: 'attempts-exhausted', at: { discarded: expect.any(Number) } });
    expect((await gateway.call('DELETE', `${PATH}/${id}`)).body.code).toBe('dead-letter-not-found');
    await bury('crowded', { type: 'rubbish' });
    const begun = await gateway.post(`${PATH}/discard`, { filter: { task_type: 'rubbish' } });
    expect(await jobEnded(begun.headers.get('location'))).toMatchObject({ kind: 'discard', state: 'completed', moved: 1 });
  });

  it('a queue that is not defined: listed, and a redrive is a 404', async () => {
    const id = await bury('orphaned', { queue: 'nowhere' });
    expect(itemsOf((await gateway.get(`${PATH}?queue_name=nowhere`)).body)).toHaveLength(1);
    const { status, body } = await gateway.post(`${PATH}/redrive`, { task_id: id });
    expect([status, body.code]).toEqual([404, 'unknown-queue']);
  });

  it.each<[string, unknown, string]>([
    ['redrive', {}, 'task_id'],
    ['redrive', { task_id: 'a.b', filter: {} }, 'task_id'],
    ['redrive', { filter: {} }, 'filter'],
    ['redrive', { filter: { queue: 'x' } }, 'filter.queue'],
    ['redrive', { filter: { queue_name: 'default' }, task_data: 1 }, 'task_data'],
    ['redrive', { task_id: 'a.b', cursor: 5 }, 'cursor'],
    ['redrive', { task_id: 'a.b', base64: 'AA==' }, 'content_type'],
    ['redrive', { task_id: 'a.b', rat: 5 }, 'rat'],
    ['redrive', { filter: { queue_name: 'default' }, rate: 1e9 }, 'rate'],
    ['redrive', [], ''],
    ['discard', { filter: {} }, 'filter'],
    ['discard', { task_id: 'a.b', lane: 'high' }, 'lane'],
  ])('%s refuses %j', async (route, body, path) => {
    const answer = await gateway.post(`${PATH}/${route}`, body);
    expect([answer.status, answer.body.code, problems(answer.body)]).toEqual([400, 'invalid-argument', [path]]);
  });

  it('refuses hostile bodies', async () => {
    expect((await gateway.post(`${PATH}/redrive`, '{"__proto__":{}}')).body.code).toBe('invalid-json');
    expect(
      (await gateway.post(`${PATH}/redrive`, { task_id: 'default.deep', task_data: JSON.parse(`${'['.repeat(200)}${']'.repeat(200)}`) }))
        .status,
    ).toBe(400);
    expect((await gateway.post(`${PATH}/discard`, 'x'.repeat(2_000_000))).body.code).toBe('payload-too-large');
    expect((await gateway.post(`${PATH}/redrive`, { task_id: 'default.none' })).body.code).toBe('dead-letter-not-found');
  });
});

describe('over NATS, by the names and the schemas of HTTP', () => {
  it('lists, shows, previews, redrives and discards, and tells of the jobs', async () => {
    const { deadLetters } = new JetlaneAdmin(gateway.admin, 'tester');
    for (const key of ['nats1', 'nats2', 'nats3', 'nats4']) await bury(key, { type: 'native' });
    const page = await deadLetters.list({ task_type: 'native', limit: 3 });
    expect(page).toEqual((await gateway.get(`${PATH}?task_type=native&limit=3`)).body);
    const task_id = 'default.nats1';
    expect(await deadLetters.get({ task_id })).toEqual((await gateway.get(`${PATH}/${task_id}`)).body);
    const dry = { filter: { task_type: 'native' }, dry_run: true } as const;
    expect(await deadLetters.redrive(dry)).toEqual((await gateway.post(`${PATH}/redrive`, dry)).body);
    expect(await deadLetters.redrive({ task_id, task_data: null })).toEqual({ task_id, hop: 2, lane: 'normal', duplicate: false });
    expect(await deadLetters.discard({ task_id: 'default.nats2' })).toEqual({ task_id: 'default.nats2', discarded: true });
    expect(await deadLetters.discardOne({ task_id: 'default.nats3' })).toEqual({ task_id: 'default.nats3', discarded: true });
    const begun = await deadLetters.redrive({ filter: { task_type: 'native' }, rate: 0.1 });
    const { job_id } = begun as { job_id: string };
    expect((await deadLetters.jobs({})).jobs.map((job) => job.job_id)).toContain(job_id);
    await deadLetters.cancelJob({ job_id });
    expect(await jobEnded(`${PATH}/jobs/${job_id}`)).toMatchObject({ by: 'tester', filter: { task_type: 'native' } });
    expect((await deadLetters.job({ job_id })).job_id).toBe(job_id);
  });

  it('refuses what HTTP refuses', async () => {
    const { deadLetters } = new JetlaneAdmin(gateway.admin, 'tester');
    const refused = { code: 'invalid-argument', details: { issues: [{ path: 'task_id' }] } };
    await expect(deadLetters.redrive({})).rejects.toMatchObject(refused);
    await expect(deadLetters.get({ task_id: 'default.none' })).rejects.toMatchObject({ code: 'dead-letter-not-found' });
  });
});

describe('metrics of the resiliency service', () => {
  it('tell how many there are, what they take, and how old the oldest is', async () => {
    const text = await (await fetch(`${resiliency.url}/metrics`)).text();
    for (const name of ['stored', 'stored_bytes', 'oldest_age_seconds'])
      expect(text).toMatch(new RegExp(`^jetlane_dead_letters_${name} [\\d.]+$`, 'm'));
  });
});

describe('without the resiliency service', () => {
  it('reading goes on, changes are a 503', async () => {
    const id = await bury('alone');
    await resiliency.stop();
    expect((await gateway.get(`${PATH}/${id}`)).status).toBe(200);
    const { status, body } = await gateway.post(`${PATH}/redrive`, { task_id: id });
    expect([status, body.code, body.retryable]).toEqual([503, 'service-unavailable', true]);
    resiliency = await startResiliency();
    expect((await gateway.post(`${PATH}/redrive`, { task_id: id })).status).toBe(200);
  });
});
