import { openQueueBucket } from '@jetlane/jetstream';
import { freePort } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { QueueManager } from '../../apps/queue-manager/src/queue-manager.js';
import type { Finding } from '../../apps/queue-manager/src/validate/finding.js';
import { report } from '../../apps/queue-manager/src/validate/finding.js';
import { inspect, validate } from '../../apps/queue-manager/src/validate/validate.js';
import { eventually, keepingLog } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

const SLA = { warningMs: 10_000, criticalMs: 30_000 };
const DEFAULTS = [{ name: 'alive', workers: 2 }, { name: 'idle' }];
let site: WorkerSite;
let manager: QueueManager;
const ran: string[] = [];

beforeAll(async () => {
  site = await WorkerSite.open('validate');
  manager = new QueueManager(site.connection, { log: keepingLog(), pollMs: 100, defaults: DEFAULTS });
  await manager.start();
  const handlers = { noop: () => void ran.push('noop'), 'jetlane-probe': () => void ran.push('probe') };
  await site.worker({ queue: 'alive', handlers });
});
afterAll(async () => {
  await manager.stop();
  await site.close();
});

const look = (probeMs = 10_000, sla = SLA) => inspect(site.connection, { sla, probeMs });
const wrong = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ check, level, message }) => `${level} ${check} ${message}`);
const lane = (queue: string) => site.connection.names.lane(queue, 'normal');

describe('validate', () => {
  it('finds nothing wrong with an installation that works, and a queue without a worker worth a look', async () => {
    const findings = await look();
    expect(wrong(findings)).toEqual(['warning probe queue "idle": no worker runs, so no task was sent']);
    expect(findings.map(({ check }) => check)).toEqual(['server', 'definitions', 'streams', 'limits', 'sla', 'probe', 'probe']);
    expect(report(findings)).toMatch(/ok {6}probe .*"alive": a task went through one of 1 workers in \d+ ms[\s\S]*0 errors, 1 warnings/);
  });

  it('leaves no trace and calls no handler', async () => {
    await look();
    expect(ran).toEqual([]);
    const { names } = site.connection;
    const { streams } = await site.connection.admin();
    for (const stream of [names.taskStates, names.deadLetters, lane('alive').stream, names.lane('alive', 'critical').stream])
      expect((await streams.info(stream)).state.messages, stream).toBe(0);
  });

  it('names a stream, a consumer and a base stream that are not as defined, with the fix', async () => {
    const { streams, consumers } = await site.connection.admin();
    await streams.update(lane('idle').stream, { max_msgs: 7 });
    const low = site.connection.names.lane('idle', 'low');
    await consumers.delete(low.stream, low.consumer);
    await streams.delete(site.connection.names.advisories);
    const findings = (await look()).filter(({ check }) => check === 'streams');
    expect(wrong(findings).sort()).toEqual([
      'error streams validate_advisories consumer is missing or differs',
      'error streams validate_advisories is missing or differs',
      'error streams validate_tasks_idle_low: the consumer is missing',
      'error streams validate_tasks_idle_normal: max_msgs differs',
    ]);
    expect(findings.every(({ fix }) => fix?.includes('start the queue manager'))).toBe(true);
    await manager.reconcile();
    expect(wrong(await look()).length).toBe(1);
  });

  it('names lanes that are nearly full and tasks that wait too long, by the queue’s own thresholds', async () => {
    await (await openQueueBucket(site.connection)).put('idle', { name: 'idle', maxDepth: 3, sla: { warning: 1, critical: '1h' } });
    await eventually('it is heard of', () => manager.queues().some(({ maxDepth }) => maxDepth === 3));
    await manager.provisioner.idle();
    for (const key of ['a', 'b', 'c']) await site.task('idle', key, 'noop');
    const found = wrong(await look());
    expect(found).toContainEqual(expect.stringMatching(/^warning limits queue "idle", lane normal: 100 % full \(3 tasks/));
    expect(found).toContainEqual(expect.stringMatching(/^warning sla queue "idle", lane normal: the oldest task has waited/));
    await (await openQueueBucket(site.connection)).put('idle', { name: 'idle', maxDepth: 3, sla: { warning: 1, critical: 1 } });
    expect(wrong(await look())).toContainEqual(expect.stringMatching(/^error sla .*: critical$/));
    const { streams } = await site.connection.admin();
    await streams.purge(lane('idle').stream);
  });

  it('tells a queue whose workers take nothing, and one that is paused; a probe that nobody took is removed', async () => {
    const { consumers, streams } = await site.connection.admin();
    const { stream, consumer } = site.connection.names.lane('alive', 'critical');
    await consumers.pause(stream, consumer, new Date(Date.now() + 3_600_000));
    expect(wrong(await look())).toContain('warning probe queue "alive" is paused, so no task was sent');
    await consumers.resume(stream, consumer);
    const stuck = await site.worker({ queue: 'stuck', handlers: { slow: () => new Promise((r) => setTimeout(r, 3000)) }, concurrency: 1 });
    await site.task('stuck', 'long', 'slow');
    await eventually('its slot is taken', () => stuck.health().busy === 1);
    expect(wrong(await look(300))).toContainEqual(
      expect.stringMatching(/^error probe queue "stuck": 1 workers run, and a task was not settled/),
    );
    expect((await streams.info(site.connection.names.lane('stuck', 'critical').stream)).state.messages).toBe(0);
  });

  it('says so when there is no server', async () => {
    const port = await freePort();
    const [finding] = await validate({ nats: { servers: `nats://127.0.0.1:${port}` }, sla: SLA });
    expect(finding).toMatchObject({ check: 'connection', level: 'error', fix: expect.stringContaining('NATS_URL') });
  });
});
