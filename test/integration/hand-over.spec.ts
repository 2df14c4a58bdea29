import { Delivery, Frame } from '@jetlane/jetstream';
import { expect, it } from 'vitest';
import { HeldTask } from '../../libs/worker/src/held-task.js';
import { LaneState } from '../../libs/worker/src/lane-state.js';
import { HandOver } from '../../libs/worker/src/limits/hand-over.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

/** Longer than the longest pause between two looks: two chains of looks cannot help meeting. */
const ASKING_MS = 400;

it('watching that is stopped and begun again while it asks goes on once', async () => {
  const site = await WorkerSite.open('handover');
  const queue = site.queueName();
  await site.define({ name: queue });
  const link = await site.installation.link();
  const admin = await link.admin();
  let asking = 0;
  let asked = 0;
  let most = 0;
  link.admin = async () => {
    asked++;
    most = Math.max(most, ++asking);
    await new Promise((resolve) => setTimeout(resolve, ASKING_MS));
    asking--;
    return admin;
  };
  const { stream, consumer } = link.names.lane(queue, 'normal');
  const lane = new LaneState('normal', link.puller({ stream, consumer, onDelivery: () => undefined, onEnd: () => undefined }));
  const frame = Frame.of(`tasks.${queue}.normal.k`, '$JS.ACK.s.c.1.1.1.1000000.0', '', new Uint8Array(0));
  lane.brings(new HeldTask(queue, 'normal', new Delivery(frame, 1, '$JS.ACK.s.c.'), 0, performance.now()));
  const handOver = new HandOver({ connection: link, queue, lanes: [lane], limited: () => false, handBack: () => undefined });
  handOver.watch();
  await eventually('it asks', () => asking === 1);
  handOver.stop();
  handOver.watch();
  await eventually('the first look is over', () => asked >= 2 && asking <= 1);
  const before = asked;
  most = 0;
  await eventually('it has looked again', () => asked >= before + 4);
  expect(most).toBe(1);
  handOver.stop();
  await site.close();
});
