import { FatalError, JetlaneError } from '@jetlane/protocol';
import { Cancelled, RetryLater } from '@jetlane/worker';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { TaskContract } from './define-task.js';

/** What does not fit, in a form that fits into an error's details. */
export interface PayloadIssue {
  /** Where: `items[2].price`; empty for the whole value. */
  readonly path: string;
  readonly message: string;
}

const MOST_ISSUES = 20;

/** Makes the error of a value that does not fit. `cause`: what a schema or an `upcast` threw, where one did. */
export type Refuse = (issues: readonly PayloadIssue[], cause?: unknown) => Error;

/** The value as its schema returns it, at once where the schema is synchronous. @throws what `refuse` makes of the issues */
export function checkValue<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  refuse: Refuse,
): StandardSchemaV1.InferOutput<S> | Promise<StandardSchemaV1.InferOutput<S>> {
  const result = refusing(() => schema['~standard'].validate(value), refuse);
  return result instanceof Promise ? result.then((late) => read(late, refuse)) : read(result, refuse);
}

/**
 * What code of the contract returns. Code that throws does so because the value is not what it was written for, and would again at the next
 * attempt: an issue of the whole value. Errors that say themselves what comes of the task are left as they are.
 */
function refusing<T>(look: () => T | Promise<T>, refuse: Refuse): T | Promise<T> {
  const refused = (error: unknown): never => {
    if (error instanceof JetlaneError || error instanceof RetryLater || error instanceof Cancelled) throw error;
    throw refuse([{ path: '', message: error instanceof Error ? error.message : String(error) }], error);
  };
  try {
    const result = look();
    return result instanceof Promise ? result.catch(refused) : result;
  } catch (error) {
    return refused(error);
  }
}

function read<T>(result: StandardSchemaV1.Result<T>, refuse: Refuse): T {
  if (!result.issues) return result.value;
  throw refuse(result.issues.slice(0, MOST_ISSUES).map((issue) => ({ path: pathOf(issue), message: issue.message })));
}

function pathOf({ path = [] }: StandardSchemaV1.Issue): string {
  return path.reduce<string>((text, step) => {
    const key = typeof step === 'object' ? step.key : step;
    return typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key);
  }, '');
}

const listed = (issues: readonly PayloadIssue[]): string =>
  issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');

/** A payload that a producer may not send. Nothing is stored. */
export const refusedPayload =
  (queue: string, type: string): Refuse =>
  (issues, cause) =>
    new JetlaneError('payload-mismatch', `the payload does not fit task type "${type}" of queue "${queue}": ${listed(issues)}`, {
      details: { queue, type, issues },
      cause,
    });

/** A payload that a handler cannot take, now or later: the task is dead at once. */
export const wrongPayload = (type?: string): Refuse => {
  const what = type === undefined ? 'the schema of its handler' : `task type "${type}"`;
  return (issues, cause) =>
    new FatalError(`the payload does not fit ${what}: ${listed(issues)}`, { code: 'payload-mismatch', details: { issues }, cause });
};

/** What a handler returned is not what its contract says: a fault of the handler, which another run would repeat. */
const wrongResult =
  (type: string): Refuse =>
  (issues, cause) =>
    new FatalError(`the result does not fit task type "${type}": ${listed(issues)}`, {
      code: 'result-mismatch',
      details: { issues },
      cause,
    });

/** The payload as its handler gets it: of an older version first upcast, then checked. @throws FatalError `payload-mismatch` */
export function acceptPayload(contract: TaskContract, type: string, payload: unknown): unknown {
  const { upcast, schema } = contract;
  const version = contract.handledTypes.get(type) ?? contract.version;
  const refuse = wrongPayload(type);
  const current = version < contract.version && upcast ? refusing(() => upcast(payload, version), refuse) : payload;
  return current instanceof Promise ? current.then((late) => checkValue(schema, late, refuse)) : checkValue(schema, current, refuse);
}

/** What is written down of a handler's result. @throws FatalError `result-mismatch` */
export function acceptResult(contract: TaskContract, result: unknown): unknown {
  return contract.result ? checkValue(contract.result, result, wrongResult(contract.type)) : result;
}
