import { writeSync } from 'node:fs';
import { connect } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import { type TaskContext, Worker } from '@jetlane/worker';

/** What {@link Child.start} gives to this program. */
export interface WorkerProcessInput {
  readonly url: string;
  readonly namespace: string;
  readonly definition: QueueDefinition;
  readonly concurrency?: number;
  readonly name?: string;
  readonly stopTimeout?: number;
}

const input = JSON.parse(process.argv[2]!) as WorkerProcessInput;

/** At once and unbuffered: the next line of this program may be its last. */
const say = (event: string, facts: object = {}) => writeSync(1, `${JSON.stringify({ event, ...facts })}\n`);

const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });

const ran = ({ key, attempt, delivery }: TaskContext) => say('ran', { key, attempt, delivery, at: Date.now() });

const handlers = {
  noop: () => undefined,
  say: (_: unknown, context: TaskContext) => void ran(context),
  /** The process ends in the middle of the run. */
  exit: (_: unknown, context: TaskContext) => {
    ran(context);
    process.exit(7);
  },
  sleep: async ({ ms }: { ms: number }, context: TaskContext) => {
    ran(context);
    await sleep(ms, context.signal);
    return { by: input.name };
  },
  /** Ignores its signal. */
  stubborn: async ({ ms }: { ms: number }, context: TaskContext) => {
    ran(context);
    await sleep(ms);
    return { by: input.name };
  },
  /** Blocks the event loop. */
  block: ({ ms }: { ms: number }, context: TaskContext) => {
    ran(context);
    const end = performance.now() + ms;
    while (performance.now() < end);
    return { by: input.name };
  },
};

const connection = await connect({ servers: input.url, namespace: input.namespace });
const worker = new Worker(connection, {
  queue: input.definition.name,
  definition: input.definition,
  handlers,
  ...(input.concurrency ? { concurrency: input.concurrency } : {}),
  ...(input.name ? { name: input.name } : {}),
  log: {
    info: () => undefined,
    warn: (facts, event) => say('log', { what: event, facts }),
    error: (facts, event) => say('log', { what: event, facts }),
  },
});
worker.on('task:completed', ({ id }) => say('completed', { id }));
worker.on('lease:lost', ({ id }) => say('lost', { id }));

async function stop(): Promise<void> {
  const began = performance.now();
  say('stopping');
  await worker.stop({ timeout: input.stopTimeout ?? 10_000 });
  await connection.close();
  say('stopped', { ms: performance.now() - began });
}

let signals = 0;
process.on('SIGTERM', () => {
  if (signals++ === 0) void stop().then(() => process.exit());
  else worker.abort();
});
process.on('message', (message) => {
  if (message === 'stop') void stop();
  if (message === 'abort') worker.abort();
});
// What keeps this process alive must be the worker alone.
process.channel?.unref();

await worker.start();
say('started', { pid: process.pid });
