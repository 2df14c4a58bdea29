import type { BatchCalls } from '@jetlane/nestjs';
import type { BatchItem, ItemOutcome, TaskContext } from '@jetlane/worker';
import { overTheWire } from './over-the-wire.js';

/** A batch as a worker runs it: each payload is accepted or refused, the handler gets those that fit. */
export async function runBatch({ accept, handleBatch }: BatchCalls, items: readonly BatchItem[]): Promise<ItemOutcome[]> {
  const accepted = await Promise.allSettled(
    items.map(async ({ data, context }) => ({ context, data: accept ? await accept(data, context) : data })),
  );
  const fitting = accepted.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const said = fitting.length === 0 ? [] : await handleBatch(fitting, contextOf(fitting[0]!.context));
  if (!Array.isArray(said) || said.length !== fitting.length)
    throw new Error(`the batch handler returned no list of ${fitting.length} outcomes, one per item; a worker would fail them all`);
  const outcomes = [...(said as ItemOutcome[])];
  return accepted.map((one) => {
    if (one.status === 'rejected') return { success: false, error: one.reason as unknown, retryable: false };
    const outcome = outcomes.shift()!;
    return outcome.success ? { success: true, result: overTheWire(outcome.result) } : outcome;
  });
}

function contextOf({ queue, type, signal, group }: TaskContext) {
  return { queue, type, group, signal, deadline: undefined };
}
