import type { ArrivalsOrder } from './harness/arrivals.js';
import { payloadBytes } from './harness/payload.js';
import { names } from './wire/admin.js';
import { WireLink } from './wire/link.js';
import { storedNew } from './wire/publish.js';
import { keyOf, taskHeaders } from './wire/task.js';

process.once('disconnect', () => process.exit(1));

/** Sends tasks at a steady rate, in a process of its own, until it is told to stop; reports how many were stored. */
process.once('message', (order: ArrivalsOrder) => {
  send(order).then(
    (stored) => process.send!({ stored }, () => process.exit(0)),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});

/** What may be unconfirmed: beyond it the server cannot keep up, and the rate is what it takes. */
const WINDOW = 4096;

async function send({ natsUrl, namespace, lane, rate, stamped }: ArrivalsOrder): Promise<number> {
  const link = await WireLink.open(natsUrl, `bench-arrivals-${lane}`);
  const { taskPrefix } = names(namespace, lane);
  let [sent, stored, stopped] = [0, 0, false];
  process.once('message', () => {
    stopped = true;
  });
  const begin = performance.now();
  const one = () => {
    const key = stamped ? `${Math.round((performance.timeOrigin + performance.now()) * 1000)}-${sent}` : keyOf(sent);
    link.send(taskPrefix + key, payloadBytes, taskHeaders(key, sent), (reply) => {
      if (!storedNew(reply.data)) throw new Error(`not stored: ${reply.string()}`);
      stored++;
    });
    sent++;
  };
  while (!stopped) {
    const due = Math.min(((performance.now() - begin) * rate) / 1000, stored + WINDOW);
    while (sent < due) one();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  while (stored < sent) await new Promise((resolve) => setTimeout(resolve, 5));
  await link.close();
  return stored;
}
