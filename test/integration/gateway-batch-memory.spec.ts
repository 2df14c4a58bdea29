import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GatewayFixture } from './gateway-fixture.js';

const STEP = 10_000;
const STEPS = 6;
/** 50 bytes of each task behind the first steps; what is in use differs by a tenth of that from step to step. */
const NOISE = 2 * 1024 * 1024;
const LINE = `${JSON.stringify({ queue_name: 'default', task_type: 'noop', task_data: { text: 'x'.repeat(150) }, priority: 'NORMAL' })}\n`;
const CHUNK = Buffer.from(LINE.repeat(200));

let gateway: GatewayFixture;
let collect: () => void;

beforeAll(async () => {
  setFlagsFromString('--expose-gc');
  collect = runInNewContext('gc') as () => void;
  gateway = await GatewayFixture.start({ LOG_LEVEL: 'warn' });
});
afterAll(() => gateway.stop());

it('a batch without an end keeps nothing of the tasks that it has stored', async () => {
  const used: number[] = [];
  // Read only as fast as tasks are stored: whenever it is asked for more, a window of them is under way.
  async function* body(): AsyncGenerator<Uint8Array> {
    for (let step = 0; step < STEPS; step++) {
      for (let sent = 0; sent < STEP; sent += 200) yield CHUNK;
      collect();
      used.push(process.memoryUsage().heapUsed);
    }
  }
  const answer = await gateway.call('POST', '/api/queue/enqueue/batch', {
    body: ReadableStream.from(body()) as unknown as BodyInit,
    duplex: 'half',
    headers: { 'content-type': 'application/x-ndjson' },
  });
  expect(answer.body).toMatchObject({ accepted: STEP * STEPS, failed: 0 });
  const early = Math.max(...used.slice(0, 2));
  expect(used.at(-1)! - early, `heap in use after each ${STEP} tasks: ${used.join(', ')}`).toBeLessThan(NOISE);
});
