// Never run: test/integration/nestjs-types.spec.ts compiles it. A line marked as an error must be one.
import {
  BatchContext,
  BatchHandler,
  defineTask,
  type ItemOutcome,
  OnTask,
  type Queue,
  TaskContext,
  type TaskEventOf,
  TaskHandler,
  type TaskPayload,
} from '@jetlane/nestjs';
import { z } from 'zod';

const mail = defineTask({
  queue: 'mail',
  type: 'mail',
  schema: z.object({ to: z.string(), at: z.string().transform((text) => new Date(text)) }),
  result: z.object({ id: z.number() }),
});

export async function producer(queue: Queue): Promise<void> {
  const receipt = await queue.enqueue(mail, { to: 'ada', at: '2030-01-01' }, { lane: 'high' });
  const { result } = await queue.result(receipt);
  result?.id.toFixed();
  // @ts-expect-error: the result has no such field
  result?.text;
  // @ts-expect-error: a field is missing
  await queue.enqueue(mail, { to: 'ada' });
  // @ts-expect-error: a Date is what the handler gets, not what a producer gives
  await queue.enqueue(mail, { to: 'ada', at: new Date() });
  // @ts-expect-error: no such lane
  await queue.enqueue('free', { any: 'thing' }, { lane: 'urgent' });
  await queue.enqueueMany(mail, [{ to: 'ada', at: '2030-01-01' }]);
  // @ts-expect-error: one of them does not fit
  await queue.enqueueMany(mail, [{ to: 'ada', at: 1 }]);
}

export class Handlers {
  @TaskHandler(mail)
  good(data: TaskPayload<typeof mail>, context: TaskContext) {
    return { id: data.at.getTime() + context.attempt };
  }

  @TaskHandler(mail)
  async asynchronous({ to }: { to: string }) {
    return { id: to.length };
  }

  // @ts-expect-error: the payload has no such field
  @TaskHandler(mail)
  wrongPayload(_: { subject: string }) {
    return { id: 1 };
  }

  // @ts-expect-error: the contract promises another result
  @TaskHandler(mail)
  wrongResult() {
    return { id: 'one' };
  }

  @BatchHandler(mail, { size: 100, maxWait: '1s', minGap: '5s', groupBy: 'group' })
  goodBatch(mails: readonly TaskPayload<typeof mail>[], batch: BatchContext): ItemOutcome<{ id: number }>[] {
    return mails.map(({ at }, i) => ({ success: true, result: { id: at.getTime() + batch.tasks[i]!.attempt } }));
  }

  // @ts-expect-error: a batch handler gets a list
  @BatchHandler(mail, { size: 100 })
  wrongPayloads(_: TaskPayload<typeof mail>): ItemOutcome<{ id: number }>[] {
    return [];
  }

  // @ts-expect-error: one outcome per payload, not one result
  @BatchHandler(mail, { size: 100 })
  wrongOutcomes() {
    return { id: 1 };
  }

  // @ts-expect-error: a batch has a size
  @BatchHandler(mail, { maxWait: '1s' })
  noSize(): ItemOutcome<{ id: number }>[] {
    return [];
  }

  @OnTask('completed')
  completed({ result }: TaskEventOf<'completed'>) {
    return result;
  }

  // @ts-expect-error: a completed task has no error
  @OnTask('completed')
  wrongEvent({ error }: TaskEventOf<'dead'>) {
    return error;
  }
}
