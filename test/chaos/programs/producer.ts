import { setTimeout as sleep } from 'node:timers/promises';
import { type NewTask, TaskClient } from '@jetlane/client';
import { connect } from '@jetlane/jetstream';
import { JetlaneError } from '@jetlane/protocol';
import { AuditClient } from './audit-client.js';
import { realNow, setClock } from './clock.js';
import { Gateways } from './gateways.js';
import type { Mix, ProducerInput, TaskData } from './inputs.js';
import { switchOffInProducer } from './off.js';
import { endWithParent, inputOf, say } from './process.js';

/** Enqueues tasks at a rate, and tells the audit which of them were confirmed. */
const input = inputOf<ProducerInput>();
const TICK_MS = 10;
/** Unconfirmed tasks at a time. */
const MOST_PENDING = 8000;
/** A machine that is slow, or stands still for a while, is no fault of the product. */
const PUBLISH_TIMEOUT_MS = 60_000;
/** One task of so many goes through a gateway: more would measure HTTP, and take the processors from what is looked at. */
const VIA_GATEWAY = { every: 50, at: 7 } as const;

const audit = await AuditClient.open(input.audit);
const connection = await connect({
  servers: input.url,
  namespace: input.namespace,
  replicas: input.replicas,
  publishTimeoutMs: PUBLISH_TIMEOUT_MS,
});
switchOffInProducer(connection, input.off);
const client = new TaskClient(connection);
await client.start();
const gateways = new Gateways(input.gateways);

let submitted = 0;
let pending = 0;

interface Order {
  readonly queue: string;
  readonly task: NewTask & { readonly data: TaskData; readonly delay?: number };
  readonly n: number;
  readonly dead: boolean;
}

function order(n: number, mix: Mix | undefined, ms = input.workMs): Order {
  const data: TaskData = { n, ...(ms > 0 ? { ms } : {}), ...mix?.data };
  const queue = mix?.doomed ? input.doomedQueue : input.queue;
  const delay = mix?.delayMs === undefined ? {} : { delay: mix.delayMs };
  return { queue, task: { type: 'work', data, ...delay }, n, dead: mix?.doomed === true || mix?.dead === true };
}

const mixOf = (n: number): Mix | undefined => input.mix.find(({ every, at, once }) => (once ? n === at : n % every === at));

/** @returns the task's key, when it is confirmed */
async function store({ queue, task, n }: Order): Promise<string> {
  if (n % VIA_GATEWAY.every === VIA_GATEWAY.at) {
    const key = `http-${n}`;
    await gateways.enqueue({ queue, key, ...task });
    return key;
  }
  const { id } = await client.enqueue(queue, task);
  return id.slice(id.indexOf('.') + 1);
}

async function enqueue(what: Order): Promise<void> {
  const { n, dead } = what;
  const sentAt = realNow();
  for (;;) {
    try {
      const key = await store(what);
      return await audit.tell(`C ${key} ${n} ${dead ? 'dead' : '-'} ${sentAt}`);
    } catch (error) {
      const code = error instanceof JetlaneError ? error.code : String(error);
      if (!input.insist || code !== 'queue-full') return await audit.tell(`F ${n} ${code.replaceAll(/\s/g, '_')}`);
      await sleep(20 + Math.random() * 80);
    }
  }
}

function send(what: Order): void {
  pending++;
  void enqueue(what).finally(() => pending--);
}

async function load(): Promise<void> {
  const began = performance.now();
  const total = Math.round(input.rate * input.seconds);
  while (submitted < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - began) / 1000) * input.rate));
    for (; submitted < due && pending < MOST_PENDING; submitted++) send(order(submitted, mixOf(submitted)));
    await sleep(TICK_MS);
  }
  while (pending > 0) await sleep(TICK_MS);
  say('done', { submitted, ms: performance.now() - began });
}

/** A few more, beside the load: for those who wait for something to happen. */
function more(count: number, doomed: boolean, ms: number): void {
  for (let i = 0; i < count; i++) send(order(submitted++, doomed ? { every: 1, at: 0, doomed } : undefined, ms));
}

endWithParent();
process.on('message', (text: string) => {
  const { go, clock, count, doomed = false, ms = 0 } = JSON.parse(text) as Record<string, number> & { go?: true; doomed?: boolean };
  if (go) void load();
  if (clock !== undefined) setClock(clock);
  if (count) more(count, doomed, ms);
});
say('started');
