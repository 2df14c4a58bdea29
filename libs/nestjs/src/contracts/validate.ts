import { FatalError, JetlaneError } from '@jetlane/protocol';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { TaskContract } from './define-task.js';

/** What does not fit, in a form that fits into an error's details. */
export interface PayloadIssue {
  /** Where: `items[2].price`; empty for the whole value. */
  readonly path: string;
  readonly message: string;
}

const MOST_ISSUES = 20;

/** The value as its schema returns it, at once where the schema is synchronous. @throws what `fail` makes of the issues */
export function checkValue<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  fail: (issues: readonly PayloadIssue[]) => Error,
): StandardSchemaV1.InferOutput<S> | Promise<StandardSchemaV1.InferOutput<S>> {
  const result = schema['~standard'].validate(value);
  return result instanceof Promise ? result.then((late) => read(late, fail)) : read(result, fail);
}

function read<T>(result: StandardSchemaV1.Result<T>, fail: (issues: readonly PayloadIssue[]) => Error): T {
  if (!result.issues) return result.value;
  throw fail(result.issues.slice(0, MOST_ISSUES).map((issue) => ({ path: pathOf(issue), message: issue.message })));
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
export function refusedPayload(queue: string, type: string, issues: readonly PayloadIssue[]): JetlaneError {
  return new JetlaneError('payload-mismatch', `the payload does not fit task type "${type}" of queue "${queue}": ${listed(issues)}`, {
    details: { queue, type, issues },
  });
}

/** A payload that a handler cannot take, now or later: the task is dead at once. */
export function wrongPayload(issues: readonly PayloadIssue[], type?: string): FatalError {
  const what = type === undefined ? 'the schema of its handler' : `task type "${type}"`;
  return new FatalError(`the payload does not fit ${what}: ${listed(issues)}`, { code: 'payload-mismatch', details: { issues } });
}

/** What a handler returned is not what its contract says: a fault of the handler, which another run would repeat. */
export function wrongResult(issues: readonly PayloadIssue[], type: string): FatalError {
  return new FatalError(`the result does not fit task type "${type}": ${listed(issues)}`, { code: 'result-mismatch', details: { issues } });
}

/** The payload as its handler gets it: of an older version first upcast, then checked. @throws FatalError `payload-mismatch` */
export function acceptPayload(contract: TaskContract, type: string, payload: unknown): unknown {
  const version = contract.handledTypes.get(type) ?? contract.version;
  const fail = (issues: readonly PayloadIssue[]) => wrongPayload(issues, type);
  const current = version < contract.version && contract.upcast ? contract.upcast(payload, version) : payload;
  return current instanceof Promise
    ? current.then((late) => checkValue(contract.schema, late, fail))
    : checkValue(contract.schema, current, fail);
}

/** What is written down of a handler's result. @throws FatalError `result-mismatch` */
export function acceptResult(contract: TaskContract, result: unknown): unknown {
  if (!contract.result) return result;
  return checkValue(contract.result, result, (issues) => wrongResult(issues, contract.type));
}
