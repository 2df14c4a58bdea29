import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { JsonBucket } from '@jetlane/jetstream';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Collector, type Span } from '../support/collector.js';
import { eventually } from '../support/wait-until.js';
import { PATIENCE, purchase, Site } from './platform-fixture.js';
import { drawTrace, labelsOf } from './trace-picture.js';

const PAGE = new URL('../../docs/tracing.md', import.meta.url);
const PICTURE = /(<!-- trace:begin -->\n```text\n)([\s\S]*?)(\n```\n<!-- trace:end -->)/;

let site: Site;
let collector: Collector;

beforeAll(async () => {
  collector = await Collector.start();
  site = await Site.start({
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '100' },
    queues: [{ name: 'default', workers: 2, retry: { attempts: 2, initialDelay: '500ms', maxDelay: '500ms', jitter: 0 } }],
  });
});
afterAll(async () => {
  await site?.stop();
  await collector?.stop();
});

const named = (spans: readonly Span[], service: string, name: string) =>
  spans.filter((span) => span.service === `jetlane-${service}` && span.name === name);
const attribute = (name: string) => (span: Span) => span.attributes[`jetlane.task.${name}`];
const text = (spans: readonly Span[]) => spans.map(({ service, name }) => `${service} ${name}`).join(', ');

/** Fails twice on a broken database, becomes a dead letter, is redriven when the database is mended, and is done. */
async function liveThroughAll(traceparent: string): Promise<void> {
  await sql`alter table purchases rename to purchases_away`.execute(site.database);
  const answer = await site.enqueue(purchase('eve', 7, { task_id: 'traced' }), '', { traceparent });
  expect(answer.status).toBe(202);
  await site.reaches('default.traced', 'dead');
  await sql`alter table purchases_away rename to purchases`.execute(site.database);
  expect((await site.post('/api/v1/dead-letters/redrive', { task_id: 'default.traced' })).status).toBeLessThan(300);
  await site.reaches('default.traced', 'completed');
}

describe('a task that is retried, given up and redriven', () => {
  it('is ONE trace over gateway, lane, worker, retry, dead letter and redrive, and the page shows it', async () => {
    const traceId = randomBytes(16).toString('hex');
    const callerSpan = randomBytes(8).toString('hex');
    await liveThroughAll(`00-${traceId}-${callerSpan}-01`);
    const ofTrace = () => collector.spans.filter((span) => span.traceId === traceId);
    await eventually('all spans have come', () => named(ofTrace(), 'worker', 'process default').length === 3 && ofTrace().length === 10, {
      ...PATIENCE,
      timeoutMs: 20_000,
    }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}: ${text(ofTrace())}`);
    });
    const spans = ofTrace();

    const [request] = named(spans, 'gateway', 'POST /api/queue/enqueue');
    const [send] = named(spans, 'gateway', 'send default');
    const runs = named(spans, 'worker', 'process default');
    const settlements = named(spans, 'worker', 'settle default');
    expect(request).toMatchObject({ parentSpanId: callerSpan, attributes: { 'http.response.status_code': 202 } });
    expect(send).toMatchObject({ parentSpanId: request!.spanId, attributes: { 'messaging.operation.type': 'send' } });
    expect(runs.map(attribute('outcome'))).toEqual(['retry', 'dead', 'completed']);
    expect(runs.map(attribute('hop'))).toEqual([1, 2, 3]);
    expect(runs.map(attribute('attempt'))).toEqual([1, 2, 1]);
    expect(settlements.map(({ parentSpanId }) => parentSpanId)).toEqual(runs.map(({ spanId }) => spanId));
    expect(settlements[0]!.attributes['jetlane.task.delay_ms']).toBe(500);
    expect(named(spans, 'scheduler', 'move default').map(attribute('outcome'))).toEqual(['moved']);
    expect(named(spans, 'resiliency', 'redrive default').map(attribute('hop'))).toEqual([3]);
    // Every hop hangs on the context that the producer made, as the conventions want it.
    const hops = spans.filter((one) => one !== request && one !== send && !settlements.includes(one));
    for (const span of hops) expect(span.parentSpanId).toBe(send!.spanId);
    expect(new Set(spans.filter((one) => one !== request).map(({ attributes }) => attributes['messaging.message.id']))).toEqual(
      new Set(['default.traced']),
    );
    // And none about the task is in another trace.
    const about = collector.spans.filter(({ attributes }) => attributes['messaging.message.id'] === 'default.traced');
    expect(new Set(about.map((span) => span.traceId))).toEqual(new Set([traceId]));
    for (const run of runs) {
      const moments = run.events.filter(({ name }) => name !== 'exception');
      expect(moments.map(({ name }) => name)).toEqual(['stored', 'fetched', 'started', 'finished', 'settled']);
      expect(moments.at(-1)!.attributes['jetlane.hop.seconds']).toBeGreaterThanOrEqual(0);
    }
    await checkPage(drawTrace(spans));
  });

  it('is in the audit: the redrive is told by an event of one service to another', async () => {
    const bucket = await JsonBucket.open<{ command: string; target: string }>(site.connection, site.connection.names.bucket('audit'), 1);
    const redrives = async () => (await bucket.all()).filter(({ value }) => value.command === 'dead-letters.redriven');
    await eventually('the queue-manager has read it', async () => (await redrives()).length === 1, PATIENCE);
    expect((await redrives())[0]!.value.target).toBe('default.traced');
  });

  it('leaves the length of its hops in the metrics of the worker', async () => {
    const page = (await site.get('/metrics', site.service('worker').url)).text;
    for (const hop of ['stored', 'fetched', 'started', 'finished', 'settled'])
      expect(page).toMatch(new RegExp(`jetlane_task_hop_seconds_count\\{queue="default",lane="normal",hop="${hop}"\\} [1-9]`));
    for (const outcome of ['retry', 'dead', 'completed'])
      expect(page).toContain(`jetlane_worker_tasks_total{queue="default",lane="normal",outcome="${outcome}"} 1`);
  });
});

/** The page shows this very trace; `UPDATE_DOCS=1` draws it anew. */
async function checkPage(picture: string): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  if (process.env.UPDATE_DOCS)
    return writeFile(
      PAGE,
      page.replace(PICTURE, (_, head: string, __, foot: string) => head + picture + foot),
    );
  expect(labelsOf(PICTURE.exec(page)?.[2] ?? '')).toEqual(labelsOf(picture));
}
