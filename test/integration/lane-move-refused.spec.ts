import { laneState, moveLane, needsMove } from '@jetlane/jetstream';
import { encodeHeaders, LANES, type QueueDefinition } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Provisioner } from '../../apps/queue-manager/src/provisioner.js';
import { rejection } from '../support/wait-until.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

/** What the server takes of headers, in bytes. */
const MOST = 65_535;
let site: Installation;
beforeAll(async () => {
  site = await Installation.open('large', {}, 'compact');
});
afterAll(() => site.close());

const wanted = (name: string): QueueDefinition => ({ name, storage: 'memory' });
const streamOf = async (queue: string) =>
  (await (await site.connection.admin()).streams.info(site.connection.names.lane(queue, 'low').stream)).config;

/** The queue-manager does not hold the lanes again at each look. */
async function triedOnce(definition: QueueDefinition): Promise<void> {
  const log = keepingLog();
  const provisioner = new Provisioner(site.connection, log);
  provisioner.define(definition.name, definition);
  for (const _ of ['first', 'second', 'third']) {
    await provisioner.idle();
    await provisioner.reconcile();
  }
  expect(log.lines.filter(({ event }) => event === 'queue:not-provisioned')).toHaveLength(1);
  expect(Object.keys(provisioner.failed())).toEqual([definition.name]);
}

describe('a task that is as large as the server takes', () => {
  it('is moved, with its message id', async () => {
    await site.queue({ name: 'full' });
    const target = site.connection.names.task('full', 'low', 'big');
    const headers = (length: number) =>
      encodeHeaders([
        ['Nats-Msg-Id', 'big#1'],
        ['X', 'a'.repeat(length)],
      ]);
    const full = headers(MOST - headers(0).length);
    expect(full.length).toBe(MOST);
    await site.connection.publish(target, 'x', full);
    expect(await rejection(site.connection.publish(target, 'x', headers(MOST + 1 - headers(0).length)))).toMatchObject({
      code: 'payload-too-large',
    });
    await moveLane(site.connection, wanted('full'), 'low');
    expect(await streamOf('full')).toMatchObject({ storage: 'memory' });
    expect((await site.inLane('full', 'big', 'low'))?.headers).toContainEqual(['Nats-Msg-Id', 'big#1']);
    expect((await site.connection.publish(target, 'x', full)).duplicate).toBe(true);
  });

  it('and would be larger as a copy: the move is undone, says why, and stops no other task', async () => {
    await site.queue({ name: 'larger' });
    const target = site.connection.names.task('larger', 'low', 'big');
    // Written without a blank behind the colon, as nobody else reads or writes it.
    const headers = (length: number) => Buffer.from(`NATS/1.0\r\nX:${'a'.repeat(length)}\r\n\r\n`);
    await site.connection.publish(target, 'x', headers(MOST - headers(0).length));
    await site.enqueue('larger', 'small', { lane: 'critical' });
    for (const _ of ['first', 'second']) {
      const error = await rejection(moveLane(site.connection, wanted('larger'), 'low'));
      expect(error).toMatchObject({
        code: 'payload-too-large',
        message: expect.stringContaining(`the task at ${target} cannot be copied`),
        details: { queue: 'larger', subject: target },
      });
      expect(await needsMove(site.connection, { name: 'larger' }, 'low')).toBe(false);
      for (const lane of LANES) expect((await laneState(site.connection, 'larger', lane))?.paused, lane).toBe(false);
    }
    expect(await streamOf('larger')).toMatchObject({ storage: 'file' });
    await site.enqueue('larger', 'late', { lane: 'high' });
    await triedOnce(wanted('larger'));
    const taken = await site.takeAll('larger', 3);
    expect(taken.sort()).toEqual(['big#1', 'late#1', 'small#1']);
    await eventually('it is empty', async () => (await site.depth('larger')) === 0);
    await moveLane(site.connection, wanted('larger'), 'low');
    expect(await streamOf('larger')).toMatchObject({ storage: 'memory' });
  });
});
