import { connect, Delivery, Frame, provisionQueue } from '@jetlane/jetstream';
import { startNatsServer, waitUntil } from '@jetlane/testing';
import { expect, it } from 'vitest';
import { HeldTask } from '../held-task.js';
import { LaneState } from '../lane-state.js';
import { HandOver } from './hand-over.js';

/** Longer than the longest pause between two looks: two chains of looks cannot help meeting. */
const ASKING_MS = 400;

const eventually = async (what: string, condition: () => boolean) =>
  expect(await waitUntil(condition, { timeoutMs: 20_000, everyMs: 20 }), what).toBe(true);

it('watching that is stopped and begun again while it asks goes on once', async () => {
  const server = await startNatsServer();
  const link = await connect({ servers: server.url, namespace: 'handover' });
  const queue = 'q';
  await provisionQueue(link, { name: queue });
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
  const handOver = new HandOver({
    connection: link,
    queue,
    lanes: [lane],
    limited: () => false,
    rests: () => false,
    handBack: () => undefined,
  });
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
  await link.close();
  await server.stop();
});
