import { DeadLetterAdmin, JetlaneAdmin } from '@jetlane/client';
import { type Connection, JsonBucket } from '@jetlane/jetstream';
import { type RunningService, readServiceConfig, startService } from '@jetlane/nestjs/service';
import { JetStreamClient, listDeadEvents } from '@jetlane/nestjs/transport';
import { lastValueFrom } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import type { AuditEntry } from '../../apps/queue-manager/src/audit/audit.js';
import { auditModule } from '../../apps/queue-manager/src/audit/dead-letter-facts.js';
import { resiliencyConfig } from '../../apps/resiliency/src/config.js';
import { resiliencyService } from '../../apps/resiliency/src/service.js';
import { bury, connection, queue, site, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

const NAMESPACE = 'facts';
useResiliency(NAMESPACE);

const services: RunningService[] = [];
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.stop()));
});

const env = () => ({ NATS_URL: site.server.url, JETLANE_NAMESPACE: NAMESPACE, LOG_LEVEL: 'silent', HOST: '127.0.0.1', PORT: '0' });

/** The resiliency service as it runs. */
async function startResiliencyService(): Promise<void> {
  services.push(await startService(resiliencyService(() => resiliencyConfig({ ...env(), RESILIENCY_PORT: '0' }))));
}

/** A queue-manager that does nothing but read events. */
async function startAuditor(): Promise<void> {
  const config = readServiceConfig('queue-manager', 3001, 'QUEUE_MANAGER_PORT', { ...env(), QUEUE_MANAGER_PORT: '0' });
  services.push(await startService({ config, module: auditModule, readsEvents: true, components: () => [] }));
}

async function auditOf(link: Connection): Promise<AuditEntry[]> {
  const bucket = await JsonBucket.open<AuditEntry>(link, link.names.bucket('audit'), 1);
  return (await bucket.all()).map(({ value }) => value);
}

describe('what operators do to dead letters', () => {
  it('is told by the resiliency service as events, and kept in the audit even when nobody listened at the time', async () => {
    await startResiliencyService();
    const [one, two] = [await bury('k1'), await bury('k2')];
    const letters = new DeadLetterAdmin(connection);
    await letters.redrive(one, { by: 'ada' });
    await letters.previewRedrive(two, { by: 'ada' });
    await new JetlaneAdmin(connection, 'ada').deadLetters.discard({ task_id: two, dry_run: true });
    await letters.discard(two, { by: 'bob' });
    expect(await auditOf(connection)).toEqual([]);
    await Promise.all([startAuditor(), startAuditor()]);
    await eventually('both are kept', async () => (await auditOf(connection)).length === 2);
    const entries = (await auditOf(connection)).sort((a, b) => a.at - b.at);
    expect(entries).toMatchObject([
      { caller: 'ada', command: 'dead-letters.redriven', target: one, after: { task_id: one, hop: 2, lane: 'normal' } },
      { caller: 'bob', command: 'dead-letters.discarded', target: two, after: { discarded: true } },
    ]);
    const { id } = await letters.redriveAll({ queue }, { by: 'eve' });
    await eventually('the job is kept once', async () => (await auditOf(connection)).length === 3);
    const ofEve = (await auditOf(connection)).find(({ caller }) => caller === 'eve');
    expect(ofEve).toMatchObject({ command: 'dead-letters.redriven', target: id, after: { job_id: id, kind: 'redrive', by: 'eve' } });
    await letters.cancelJob(id);
    await eventually('the cancel is kept', async () => (await auditOf(connection)).length === 4);
    expect((await auditOf(connection)).find(({ command }) => command === 'dead-letters.job-cancelled')).toMatchObject({ target: id });
  });

  it('that cannot be read becomes a dead event, and holds up nothing', async () => {
    await startAuditor();
    const before = (await auditOf(connection)).length;
    const client = new JetStreamClient({ connection });
    await lastValueFrom(client.emit('dead-letters.redriven', { who: 'a stranger' }));
    await lastValueFrom(client.emit('dead-letters.redriven', { at: 1, caller: 'c', target: 't', result: null }));
    await eventually('the good one is kept', async () => (await auditOf(connection)).length === before + 1);
    await eventually('the other one is dead', async () => (await listDeadEvents(connection)).length === 1);
    expect(await listDeadEvents(connection)).toMatchObject([{ subject: 'dead-letters.redriven', reason: 'fatal' }]);
  });
});
