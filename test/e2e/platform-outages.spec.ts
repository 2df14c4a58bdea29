import { TaskClient } from '@jetlane/client';
import { countMessages, openQueueBucket, streamExists } from '@jetlane/jetstream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/wait-until.js';
import { type Answer, PATIENCE, purchase, quick, SERVICE_NAMES, Site } from './platform-fixture.js';

const FRAGILE = 'fragile';
const WAIT = '?wait=30s';
let site: Site;
let client: TaskClient;

beforeAll(async () => {
  site = await Site.start({ queues: [quick('default'), { name: FRAGILE, lease: '1s', maxDeliveries: 3, workers: 1 }] });
  client = new TaskClient(site.connection);
});
// Whatever became of a test, the next one finds everything running.
afterEach(() => Promise.all(SERVICE_NAMES.map((name) => site.service(name).start())));
afterAll(async () => {
  await client?.close();
  await site?.stop();
});

const metrics = async (name: 'scheduler' | 'resiliency'): Promise<string> => (await site.get('/metrics', site.service(name).url)).text;

describe('with one part stopped', () => {
  it('scheduler: delayed tasks and retries wait, none is lost; the rest goes on', async () => {
    const { names } = site.connection;
    const scheduler = site.service('scheduler');
    await scheduler.stop();
    const delayed = await site.enqueue(purchase('sched', 5, { delay: 1 }));
    expect(delayed).toMatchObject({ status: 202, body: { state: 'scheduled' } });
    const failing = await site.enqueue({ task_type: 'nobody_knows_it' });
    expect(await site.task(delayed.body.task_id)).toMatchObject({ state: 'scheduled', at: { scheduled_for: expect.any(Number) } });
    await site.reaches(failing.body.task_id, 'retrying');
    expect((await site.enqueue(purchase('sched', 1), WAIT)).body).toMatchObject({ state: 'completed', result: { balance: 1 } });

    const fired = () => countMessages(site.connection, names.schedules, names.pattern('due.default.>'));
    await eventually('both timers have fired', async () => (await fired()) === 2, PATIENCE);
    expect(await site.task(delayed.body.task_id)).toMatchObject({ state: 'queued', attempt: 1 });
    expect(await site.task(failing.body.task_id)).toMatchObject({ state: 'queued', attempt: 2 });
    expect(await site.balance('sched')).toBe(1);

    await scheduler.start();
    await site.reaches(delayed.body.task_id, 'completed');
    expect(await site.balance('sched')).toBe(6);
    const tried = async () => Number((await site.task(failing.body.task_id)).attempt) > 2;
    await eventually('the retry went on', tried, PATIENCE);
    expect(await metrics('scheduler')).toMatch(/^jetlane_scheduler_moved_total\{.*queue="default".*\} [2-9]/m);
  });

  it('resiliency: an orphan waits in its lane, then there is one dead letter', async () => {
    const { names } = site.connection;
    const resiliency = site.service('resiliency');
    await resiliency.stop();
    const before = await streamState(names.deadLetters);
    const { body } = await site.enqueue({ queue_name: FRAGILE, task_type: 'mail', task_data: { to: 'ada' } });
    const id = String(body.task_id);
    const handedOut = await refuseUntilGivenUp();
    expect(handedOut).toBe(3);
    expect(await site.task(id)).toMatchObject({ state: 'queued', lane: 'normal' });
    await eventually('stats count it', async () => (await site.stats(FRAGILE)).queue.depth === 1, PATIENCE);
    expect(await streamState(names.deadLetters)).toEqual(before);
    await site.expectWork();

    await resiliency.start();
    expect(await site.reaches(id, 'dead')).toMatchObject({ reason: 'deliveries-exhausted', task_type: 'mail', lane: 'normal' });
    await eventually('the lane is empty', async () => (await streamState(names.lane(FRAGILE, 'normal').stream)).messages === 0, PATIENCE);
    await eventually('the advisory is settled', async () => (await streamState(names.advisories)).messages === 0, PATIENCE);
    expect(await streamState(names.deadLetters)).toEqual({ messages: before.messages + 1, last: before.last + 1 });
    await eventually('stats tell', async () => (await site.stats(FRAGILE)).queue.failed === 1, PATIENCE);
    const line = /^jetlane_dead_letters_total\{(?=.*queue="fragile")(?=.*reason="deliveries-exhausted").*\} 1$/m;
    expect(await metrics('resiliency')).toMatch(line);
  });

  it('queue-manager: enqueue and work go on, depths come from the server, new definitions wait', async () => {
    const manager = site.service('queue-manager');
    await manager.stop();
    expect((await site.enqueue(purchase('qm', 3), WAIT)).body).toMatchObject({ state: 'completed', result: { balance: 3 } });
    expect(await site.missing(FRAGILE, 'queue-manager')).toMatchObject({ depth: 0, failed: 1, workers: { count: 0 } });
    const bucket = await openQueueBucket(site.connection);
    await bucket.put('late', { name: 'late', workers: 1 });
    expect(await streamExists(site.connection, site.connection.names.lane('late', 'normal').stream)).toBe(false);

    await manager.start();
    const stored = async () => (await site.enqueue({ queue_name: 'late', task_type: 'mail' })).status === 202;
    await eventually('the new queue takes tasks', stored, PATIENCE);
    await site.missing('late');
    await eventually('stats count its task', async () => (await site.stats('late')).queue.depth === 1, PATIENCE);
  });

  it('analytics: enqueue and work go on, rates are unknown, and what ran meanwhile is counted after', async () => {
    const analytics = site.service('analytics');
    const one = () => site.enqueue({ queue_name: 'low_priority', task_type: 'count', task_data: { collection: 'users' } }, WAIT);
    const completed = async () => (await site.stats('low_priority')).queue.totals?.completed;
    expect((await one()).body.state).toBe('completed');
    await eventually('one is counted', async () => (await completed()) === 1, PATIENCE);
    await analytics.stop();
    for (let i = 0; i < 3; i++) expect((await one()).body.state).toBe('completed');
    const unknown = { rates: null, totals: null, wait_ms: null, run_ms: null, workers: null };
    expect(await site.missing('low_priority', 'analytics')).toMatchObject({ ...unknown, depth: 0 });

    await analytics.start();
    await eventually('all four are counted', async () => (await completed()) === 4, PATIENCE);
    await site.missing('low_priority');
  });

  it('worker host: tasks wait and run after it is back', async () => {
    const worker = site.service('worker');
    await worker.stop();
    const sent = await Promise.all([1, 2, 3, 4, 5].map((amount) => site.enqueue(purchase('host', amount), amount === 5 ? '?wait=1s' : '')));
    for (const { status, body } of sent) expect([status, body.state]).toEqual([202, 'queued']);
    expect(await site.task(sent[0]!.body.task_id)).toMatchObject({ state: 'queued', at: { stored: expect.any(Number) } });
    await eventually('stats count them', async () => (await site.stats('default')).queue.depth === 5, PATIENCE);

    await worker.start();
    for (const { body } of sent) await site.reaches(body.task_id, 'completed');
    expect(await site.balance('host')).toBe(15);
    expect(await site.purchases('host')).toHaveLength(5);
  });

  it('gateway: NATS clients and workers go on', async () => {
    const gateway = site.service('gateway');
    await gateway.stop();
    await expect(site.get('/health/live')).rejects.toThrow();
    const { id } = await client.enqueue('default', { type: 'credit_purchase', data: { user_id: 'gate', amount: 7 } });
    expect(await client.result(id, { timeout: '30s' })).toMatchObject({ state: 'completed', result: { balance: 7 } });

    await gateway.start();
    expect(await site.task(id)).toMatchObject({ state: 'completed', result: { balance: 7 } });
    await site.expectWork();
  });
});

describe('with nats-server killed', () => {
  it('enqueue answers 503 quickly, everything resumes by itself, and nothing confirmed is lost', async () => {
    const before = site.lives();
    const late = await site.enqueue(purchase('nats', 1000, { delay: 2 }));
    const producer = new Producer();
    await eventually('some are confirmed', () => producer.confirmed.length >= 20, PATIENCE);

    site.nats.kill('SIGKILL');
    await site.nats.exited;
    await eventually('a caller is refused', () => producer.refused.length > 0, PATIENCE);
    const refusal = await site.enqueue(purchase('nats', 1));
    expect(refusal).toMatchObject({ status: 503, body: { code: 'not-connected', retryable: true } });
    expect(refusal.tookMs).toBeLessThan(2000);
    expect(await site.get(`/api/queue/status/${producer.confirmed[0]}`)).toMatchObject({ status: 503, body: { code: 'not-connected' } });
    for (const name of SERVICE_NAMES) {
      await eventually(
        `${name} is not ready`,
        async () => (await site.get('/health/ready', site.service(name).url)).status === 503,
        PATIENCE,
      );
      expect((await site.get('/health/live', site.service(name).url)).status, name).toBe(200);
    }

    await site.nats.start();
    const confirmedBefore = producer.confirmed.length;
    await eventually('callers are served again', () => producer.confirmed.length > confirmedBefore + 20, PATIENCE);
    await producer.stop();
    for (const id of [...producer.confirmed, String(late.body.task_id)]) await site.reaches(id, 'completed');
    const done = await site.purchases('nats');
    expect(new Set(done)).toHaveLength(done.length);
    expect(done).toEqual(expect.arrayContaining(producer.confirmed));
    expect(await site.balance('nats')).toBe(done.length - 1 + 1000);
    for (const name of SERVICE_NAMES) await eventually(`${name} is ready`, () => site.service(name).isReady(), PATIENCE);
    expect(site.lives()).toEqual(before);
    expect(producer.surprises).toEqual([]);
  });
});

/** Enqueues one credit after the other, whatever comes, until told to stop. */
class Producer {
  readonly confirmed: string[] = [];
  readonly refused: Answer[] = [];
  readonly surprises: unknown[] = [];
  private running = true;
  private readonly ended = this.run();

  async stop(): Promise<void> {
    this.running = false;
    await this.ended;
  }

  private async run(): Promise<void> {
    while (this.running) {
      try {
        const answer = await site.enqueue(purchase('nats', 1));
        if (answer.status === 202) this.confirmed.push(String(answer.body.task_id));
        else if (answer.status === 503) this.refused.push(answer);
        else this.surprises.push(answer);
      } catch (error) {
        this.surprises.push(error);
      }
    }
  }
}

async function streamState(stream: string): Promise<{ messages: number; last: number }> {
  const { state } = await (await site.connection.admin()).streams.info(stream);
  return { messages: state.messages, last: state.last_seq };
}

/** Plays a worker that hands the task back until the server gives it up. @returns how often it was handed out */
async function refuseUntilGivenUp(): Promise<number> {
  const { connection } = site;
  const { stream, consumer } = connection.names.lane(FRAGILE, 'normal');
  let deliveries = 0;
  const puller = connection.puller({
    stream,
    consumer,
    onDelivery: (delivery) => {
      deliveries++;
      connection.nak(delivery);
    },
    onEnd: () => void puller.pull(1, 'wait'),
  });
  puller.start(connection.epoch);
  const told = async () => {
    puller.pull(1, 'wait');
    return (await streamState(connection.names.advisories)).messages > 0;
  };
  await eventually('the server gave it up', told, PATIENCE);
  await puller.drain();
  puller.stop();
  return deliveries;
}
