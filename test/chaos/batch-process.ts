import { writeSync } from 'node:fs';
import { connect } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import { type BatchItem, Worker } from '@jetlane/worker';

/** What {@link Child.start} gives to this program: a worker with a batch handler that never ends. */
export interface BatchProcessInput {
  readonly url: string;
  readonly namespace: string;
  readonly definition: QueueDefinition;
  readonly size: number;
  readonly maxWait: number;
}

const input = JSON.parse(process.argv[2]!) as BatchProcessInput;

/** At once and unbuffered: the next line of this program may be its last. */
const say = (event: string, facts: object = {}) => writeSync(1, `${JSON.stringify({ event, ...facts })}\n`);

const handleBatch = (items: readonly BatchItem<unknown>[]): Promise<never> => {
  for (const { context } of items) say('ran', { key: context.key });
  return new Promise(() => undefined);
};

const connection = await connect({ servers: input.url, namespace: input.namespace });
const worker = new Worker(connection, {
  queue: input.definition.name,
  definition: input.definition,
  concurrency: 50,
  handlers: { t: { handleBatch, size: input.size, maxWait: input.maxWait } },
});
await worker.start();
say('started');
const watch = setInterval(() => {
  if (worker.health().busy < 20) return;
  say('holds', { busy: worker.health().busy });
  clearInterval(watch);
}, 20);
