import { JetlaneAdmin } from '@jetlane/client';
import { beforeEach, describe, expect, it } from 'vitest';
import { Audit } from '../../apps/queue-manager/src/audit/audit.js';
import { AuditLog } from '../../apps/queue-manager/src/audit/audit-log.js';
import { eventually } from './services-fixture.js';
import { admin, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('audits');

let log: AuditLog | undefined;
beforeEach(async () => {
  log ??= await site.link().then((link) => new AuditLog(link));
  await log.start().catch(() => undefined);
});

describe('the audit', () => {
  it('tells who did what, when, and what it was before and after', async () => {
    await startSteering();
    const began = Date.now();
    await admin.queues.pause({ queue, reason: 'a' });
    await new JetlaneAdmin(site.connection, 'http 1.2.3.4').queues.resume({ queue });
    await admin.tasks.rerun({ task_id: `${queue}.none`, data: 'secret' }).catch(() => undefined);
    await admin.queues.purge({ queue }).catch(() => undefined);
    const failed = (await admin.audit.list({ target: `${queue}.none` })).items;
    expect(failed).toMatchObject([{ command: 'tasks.rerun', after: { task_id: `${queue}.none` }, error: { code: 'task-not-found' } }]);
    expect(JSON.stringify(failed)).not.toContain('secret');
    const { items } = await admin.audit.list({ target: queue });
    expect(items.map(({ command, caller, target }) => [command, caller, target])).toEqual([
      ['queues.purge', 'tester', queue],
      ['queues.resume', 'http 1.2.3.4', queue],
      ['queues.pause', 'tester', queue],
    ]);
    expect(items[2]).toMatchObject({ before: { paused: false }, after: { paused: true, reason: 'a' } });
    expect(items[1]).toMatchObject({ before: { paused: true }, after: { paused: false } });
    expect(items[0]?.error?.code).toBe('invalid-argument');
    for (const { at } of items) expect(at - began).toBeGreaterThanOrEqual(0);
  });

  it('is filtered by caller, command, target and time, and paged', async () => {
    const audit = await Audit.open(site.connection);
    const of = (caller: string, i: number) => ({ at: Date.now(), caller, command: i % 2 ? 'a.b' : 'c.d', target: `t${i % 3}` });
    for (let i = 0; i < 30; i++) await audit.record(of(i < 15 ? 'first' : 'second', i));
    expect((await admin.audit.list({ caller: 'first' })).items.length).toBe(15);
    expect((await admin.audit.list({ caller: 'second', command: 'a.b' })).items.map(({ target }) => target)).toEqual(
      [29, 27, 25, 23, 21, 19, 17, 15].map((i) => `t${i % 3}`),
    );
    const pages: number[] = [];
    for (let before: number | undefined, more = true; more; ) {
      const page = await admin.audit.list({ command: 'c.d', limit: 4, ...(before === undefined ? {} : { before }) });
      pages.push(page.items.length);
      before = page.next;
      more = page.next !== undefined;
    }
    expect(pages).toEqual([4, 4, 4, 3]);
    const last = (await admin.audit.list({ caller: 'second', limit: 1 })).items[0]!;
    await eventually('the clock has moved', () => Date.now() > last.at + 5);
    const later = Date.now();
    await audit.record(of('third', 1));
    expect((await admin.audit.list({ from: later })).items.map(({ caller }) => caller)).toEqual(['third']);
    expect((await admin.audit.list({ to: later, limit: 1 })).items[0]).toEqual(last);
    expect((await admin.audit.list({ to: '2020-01-01T00:00:00Z' })).items).toEqual([]);
  });

  it('of 100,000 entries gives a page of one caller, or of nobody, within half a second', async () => {
    const audit = await Audit.open(site.connection);
    await audit.record({ at: Date.now(), caller: 'rare', command: 'x.y', target: 't' });
    const bucket = site.connection.names.bucket('audit');
    const body = JSON.stringify({ at: 1, caller: 'usual', command: 'x.y', target: 't' });
    const published: Promise<unknown>[] = [];
    for (let i = 0; i < 100_000; i++) {
      published.push(site.connection.publish(`$KV.${bucket}.aaaa.bbbb.cccc.${i}`, body));
      if (published.length % 4000 === 0) await Promise.all(published.splice(0));
    }
    await Promise.all(published);
    const times: number[] = [];
    for (const ask of [{}, { caller: 'rare' }, { caller: 'nobody' }]) {
      // The best of three: others may use this machine.
      const tries: number[] = [];
      let found = -1;
      for (let i = 0; i < 3; i++) {
        const began = performance.now();
        found = (await admin.audit.list({ ...ask, limit: 50 })).items.length;
        tries.push(performance.now() - began);
      }
      times.push(Math.min(...tries));
      expect(found).toBe(ask.caller === undefined ? 50 : ask.caller === 'rare' ? 1 : 0);
    }
    expect(Math.max(...times), times.join()).toBeLessThan(500);
  });
});
