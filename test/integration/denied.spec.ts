import { TaskClient } from '@jetlane/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { eventually, keepingLog } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

/** Users that lack one permission each. */
const USERS = `
authorization {
  users: [
    { user: all, password: all }
    { user: deaf, password: deaf, permissions: { subscribe: { deny: ["denied.states.>"] } } }
    { user: mute, password: mute, permissions: { publish: { deny: ["denied.states.>"] } } }
  ]
}
no_auth_user: all
`;

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('denied', { extra: USERS });
});
afterAll(() => site.close());

const linkOf = (user: string) => site.installation.link(undefined, { user, password: user });

describe('a permission that is missing', () => {
  it('to hear records: who waits for a result is told, and does not wait for ever', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    await site.task(queue, 'k', 't');
    const client = new TaskClient(await linkOf('deaf'));
    expect(await rejection(client.result(`${queue}.k`))).toMatchObject({
      code: 'permission-denied',
      retryable: false,
      details: { operation: 'subscription', subject: `denied.states.${queue}.k` },
    });
    await client.close();
  });

  it('to write records: a run whose outcome cannot be written is an error in the log, with the subject', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    await site.task(queue, 'k', 't');
    const log = keepingLog();
    let runs = 0;
    await site.worker({ queue, log, handlers: { t: () => void runs++ } }, await linkOf('mute'));
    await eventually('it is logged', () => log.lines.some(({ event }) => event === 'settle:failed'));
    expect(runs).toBe(1);
    expect(log.lines.find(({ event }) => event === 'settle:failed')).toMatchObject({
      level: 'error',
      facts: { id: `${queue}.k`, code: 'permission-denied', subject: `denied.states.${queue}.k` },
    });
  });
});
