import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@jetlane/jetstream';
import { type TaskContext, Worker } from '@jetlane/worker';
import { AuditClient } from './audit-client.js';
import { measureByTimeOfDay, setClock } from './clock.js';
import { openEffects } from './effects.js';
import type { TaskData, WorkerInput } from './inputs.js';
import { switchOffInConnection, switchOffInWorker } from './off.js';
import { endWithParent, inputOf, say } from './process.js';

/** A worker whose handlers tell the audit what they do. */
const input = inputOf<WorkerInput>();
const off = new Set(input.off);
if (off.has('monotonic-time')) measureByTimeOfDay();

const audit = await AuditClient.open(input.audit);
const effects = input.database === undefined ? undefined : await openEffects(input.database, off.has('inbox'));
const connection = await connect({
  servers: input.url,
  namespace: input.namespace,
  replicas: input.replicas,
  ...(off.has('pings') ? { pingIntervalMs: 3_600_000 } : {}),
});

switchOffInConnection(connection, off);

/** Deliveries that are neither acknowledged nor handed back. Counted here, not taken from the library. */
const held = new Set<string>();
const puller = connection.puller.bind(connection);
connection.puller = (options) =>
  puller({
    ...options,
    onDelivery: (delivery) => {
      held.add(delivery.reply);
      options.onDelivery(delivery);
    },
  });
for (const word of ['ack', 'nak'] as const) {
  const send = connection[word].bind(connection);
  connection[word] = (delivery) => {
    held.delete(delivery.reply);
    return send(delivery);
  };
}

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/**
 * Puts what was said so far into the socket. A word that is half-way when a process stands still goes out when it goes on,
 * whatever the process may know by then; no lease can prevent that. No event is handled in between: these are microtasks.
 */
async function finishTalking(): Promise<void> {
  void connection.flush().catch(() => undefined);
  for (let i = 0; i < 10; i++) await undefined;
}

async function misbehave({ does, blockMs = 0 }: TaskData, { attempt, delivery }: TaskContext): Promise<void> {
  if (does === 'throw' && attempt === 1) throw new Error('thrown on purpose');
  if (does === 'hang' && attempt === 1) await new Promise(() => undefined);
  if (does === 'block' && delivery === 1 && attempt === 1) {
    await finishTalking();
    block(blockMs);
  }
  if (does === 'poison' || (does === 'crash' && delivery === 1)) process.exit(7);
}

/** Heeds no signal: the worst that a handler can do to the bounds. */
async function work(data: TaskData, context: TaskContext): Promise<void> {
  const { key, attempt, hop, delivery } = context;
  const told = () => audit.tell(`E ${key} ${attempt} ${hop} ${delivery} ${input.name}`);
  if (effects) {
    await effects(context);
    await told();
  }
  if (data.ms) await sleep(data.ms);
  if (data.does) await misbehave(data, context);
  if (!effects) await told();
}

const timeout = input.timeoutMs === undefined || off.has('timeout') ? {} : { timeout: input.timeoutMs };
const worker = new Worker(connection, {
  queue: input.definition.name,
  definition: input.definition,
  handlers: { work: { handle: work, ...timeout } },
  concurrency: input.concurrency,
  name: input.name,
});
endWithParent();
process.on('message', (text: string) => {
  const { clock, report, stop } = JSON.parse(text) as { clock?: number; report?: true; stop?: true };
  if (clock !== undefined) setClock(clock);
  if (stop) void finishTalking().then(() => process.kill(process.pid, 'SIGSTOP'));
  if (report) say('held', { count: held.size });
});
await worker.start();
await switchOffInWorker(worker, connection, off);
say('started');
