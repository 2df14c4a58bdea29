import type { Msg } from '@nats-io/transport-node';
import { ageOf } from '../harness/arrivals.js';
import type { Job, Measurement } from '../harness/contract.js';
import { HANDLER_MS, measurePickups, type Pickups, SLOTS } from '../harness/priority.js';
import { names, provisionLane } from './admin.js';
import { WireLink } from './link.js';

const ACK = new TextEncoder().encode('+ACK');
/** Open pulls of the high lane: it never waits for a slot, so this is the least time that such a task needs on this machine. */
const HIGH_SLOTS = 8;

/** The bare loops: a lane of high tasks with slots of its own, and one of low tasks; no records. Variant `idle` gets no low tasks. */
export async function run(job: Job): Promise<Measurement> {
  const link = await WireLink.open(job.natsUrl, 'bench-wire-priority');
  for (const lane of ['high', 'low']) await provisionLane(link, job.namespace, lane);
  const measured = await measurePickups(job, job.variant === 'idle', async (pickups) => {
    serve(link, job.namespace, 'high', HIGH_SLOTS, pickups);
    serve(link, job.namespace, 'low', SLOTS - HIGH_SLOTS, pickups);
  });
  await link.close();
  return measured;
}

/** Keeps one task in each slot: a pull for one task, then the handler, then the ack. */
function serve(link: WireLink, namespace: string, lane: string, slots: number, { high, low }: Pickups): void {
  const { laneStream, consumer, taskPrefix } = names(namespace, lane);
  const inbox = `_INBOX.priority.${lane}.${Math.random().toString(36).slice(2)}`;
  const pull = () =>
    link.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${laneStream}.${consumer}`, '{"batch":1,"expires":30000000000}', { reply: inbox });
  const handle = (message: Msg) => {
    if (!message.reply) return pull();
    if (lane === 'high') high(ageOf(message.subject.slice(taskPrefix.length)));
    setTimeout(() => {
      if (link.nc.isClosed()) return;
      link.nc.publish(message.reply!, ACK);
      if (lane === 'low') low();
      pull();
    }, HANDLER_MS);
  };
  link.nc.subscribe(inbox, { callback: (_error, message) => handle(message) });
  for (let i = 0; i < slots; i++) pull();
}
