import type {
  BatchItem,
  BatchOptions,
  TaskContext,
  BatchContext as WorkerBatchContext,
  BatchHandlerOptions as WorkerHandlerOptions,
} from '@jetlane/worker';
import type { TaskContract } from '../contracts/define-task.js';
import { acceptPayload, acceptResult } from '../contracts/validate.js';
import { BatchContext } from './batch-context.js';
import { type ItemRule, planBatchParams } from './batch-params.js';
import { collect } from './collect.js';
import { taskStorage } from './current-task.js';
import { finalError } from './final-error.js';
import { type Call, type Invoker, type Place, TASK_CONTEXT, withFinalErrors } from './invoker.js';

/** A payload that may join a batch. */
class Accepted {
  constructor(
    readonly payload: unknown,
    /** What each rule of the parameters made of it. */
    readonly values: readonly unknown[],
  ) {}
}

type Calls = Pick<WorkerHandlerOptions, 'handleBatch' | 'accept' | 'groupBy'>;

/** What a method is made of, apart from where it stands. */
export interface BatchHandlerParts {
  readonly contract: TaskContract | undefined;
  /** Whether `currentTask()` works while payloads are looked at, and `currentBatch()` in the handler. */
  readonly asyncContext: boolean;
  readonly groupBy: BatchOptions['groupBy'];
}

/** The method as a worker's handler of batches. Contract, and schemas and pipes of parameters, look at each payload before its task joins. */
export function batchHandler(invoker: Invoker, place: Place, parts: BatchHandlerParts): Calls {
  const { rules, fill } = planBatchParams(place, TASK_CONTEXT);
  const { contract, asyncContext } = parts;
  const accepted = new WeakMap<BatchContext, readonly (readonly unknown[])[]>();
  const args = fill && ((payloads: readonly unknown[], batch: BatchContext) => collect(fill, payloads, batch, accepted.get(batch) ?? []));
  const call = withFinalErrors(invoker.batch(place, args));
  const run = (payloads: readonly unknown[], batch: BatchContext) => {
    const outcomes = asyncContext ? taskStorage.run(batch, call, payloads, batch) : call(payloads, batch);
    return outcomes instanceof Promise ? outcomes.then((late) => checkOutcomes(late, contract)) : checkOutcomes(outcomes, contract);
  };
  if (!contract && rules.length === 0) return plainCalls(run, parts);
  const handleBatch = (items: readonly BatchItem<Accepted>[], context: WorkerBatchContext) => {
    const batch = batchOf(items, context);
    const values = items.map(({ data }) => data.values);
    accepted.set(batch, values);
    const payloads = items.map(({ data }) => data.payload);
    return run(payloads, batch);
  };
  return checkedCalls(handleBatch as Calls['handleBatch'], acceptWith(contract, rules), parts);
}

const batchOf = (items: readonly BatchItem[], context: WorkerBatchContext): BatchContext =>
  new BatchContext(
    context,
    items.map((item) => item.context),
  );

/** Where nothing looks at a payload by itself, tasks join as they are. */
function plainCalls(run: (payloads: readonly unknown[], batch: BatchContext) => unknown, { groupBy }: BatchHandlerParts): Calls {
  const handleBatch = (items: readonly BatchItem[], context: WorkerBatchContext) => {
    const payloads = items.map(({ data }) => data);
    return run(payloads, batchOf(items, context));
  };
  return { handleBatch: handleBatch as Calls['handleBatch'], ...(groupBy && { groupBy }) };
}

function checkedCalls(handleBatch: Calls['handleBatch'], accept: Call, { asyncContext, groupBy }: BatchHandlerParts): Calls {
  const ofPayload = (by: Exclude<BatchOptions['groupBy'], 'group' | undefined>) => (data: never, context: TaskContext) =>
    by((data as Accepted).payload as never, context);
  return {
    handleBatch,
    accept: asyncContext ? (payload: never, context) => taskStorage.run(context, accept, payload, context) : accept,
    ...(groupBy && { groupBy: typeof groupBy === 'function' ? ofPayload(groupBy) : groupBy }),
  };
}

/** @returns what makes an {@link Accepted} of a payload, at once where contract, schemas and pipes are synchronous */
function acceptWith(contract: TaskContract | undefined, rules: readonly ItemRule[]) {
  const withValues = (payload: unknown): Accepted | Promise<Accepted> => {
    const values = collect(rules, payload);
    return values instanceof Promise ? values.then((late) => new Accepted(payload, late)) : new Accepted(payload, values);
  };
  return withFinalErrors((data, { type }: TaskContext) => {
    const payload = contract ? acceptPayload(contract, type, data) : data;
    return payload instanceof Promise ? payload.then(withValues) : withValues(payload);
  });
}

/** Results that do not fit the contract, and HTTP errors that say "your data is wrong", are final for their tasks. */
function checkOutcomes(outcomes: unknown, contract: TaskContract | undefined): unknown {
  // What is no list of outcomes is the worker's to tell.
  if (!Array.isArray(outcomes)) return outcomes;
  const checked = outcomes.map((outcome: unknown) => checkOutcome(outcome, contract));
  return checked.some((outcome) => outcome instanceof Promise) ? Promise.all(checked) : checked;
}

function checkOutcome(outcome: unknown, contract: TaskContract | undefined): unknown {
  if (typeof outcome !== 'object' || outcome === null || !('success' in outcome)) return outcome;
  if (outcome.success === false && 'error' in outcome) return { ...outcome, error: finalError(outcome.error) };
  if (outcome.success !== true || !contract?.result) return outcome;
  const failed = (error: unknown) => ({ success: false, error });
  try {
    const result = acceptResult(contract, 'result' in outcome ? outcome.result : undefined);
    if (result instanceof Promise) return result.then((late: unknown) => ({ success: true, result: late }), failed);
    return { success: true, result };
  } catch (error) {
    return failed(error);
  }
}
