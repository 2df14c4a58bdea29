import type { EnqueueManyOptions, NewTask, QueuedTask } from '@jetlane/client';
import type { TaskContract } from '../contracts/define-task.js';
import { checkValue, refusedPayload } from '../contracts/validate.js';

/** Tasks whose payloads fit, with listeners that know the place of each in the input. */
export interface CheckedTasks {
  readonly tasks: AsyncGenerator<QueuedTask>;
  readonly listeners: EnqueueManyOptions;
  /** Payloads that did not fit so far. */
  readonly refused: () => number;
}

/** Checks payloads one by one as they are read; what does not fit is told to `onError` and left out. */
export function checkedTasks(
  contract: TaskContract,
  payloads: AsyncIterable<unknown> | Iterable<unknown>,
  options: EnqueueManyOptions & Pick<NewTask, 'lane' | 'delay' | 'group'>,
): CheckedTasks {
  const { onReceipt, onError, signal, ...shared } = options;
  const { queue, wireType, type, schema } = contract;
  // Places of refused payloads among those that passed: how far each one's index has to be moved.
  const gaps: number[] = [];
  const placeOf = (index: number) => gaps.reduce((place, gap) => (gap <= index ? place + 1 : place), index);
  async function* tasks(): AsyncGenerator<QueuedTask> {
    let passed = 0;
    for await (const data of payloads) {
      try {
        await checkValue(schema, data, refusedPayload(queue, type));
      } catch (error) {
        onError?.(error, passed + gaps.length);
        gaps.push(passed);
        continue;
      }
      passed++;
      yield { ...shared, queue, type: wireType, data };
    }
  }
  return {
    tasks: tasks(),
    refused: () => gaps.length,
    listeners: {
      ...(signal ? { signal } : {}),
      ...(onReceipt ? { onReceipt: (receipt, index) => onReceipt(receipt, placeOf(index)) } : {}),
      ...(onError ? { onError: (error, index) => onError(error, placeOf(index)) } : {}),
    },
  };
}
