import { isQueueName, isTaskType, JetlaneError } from '@jetlane/protocol';
import type { StandardSchemaV1 } from '@standard-schema/spec';

/** What producers and handlers of a task type agree on. */
export interface TaskDefinition<S extends StandardSchemaV1, R extends StandardSchemaV1 | undefined> {
  readonly queue: string;
  readonly type: string;
  /** Schema of the payload: zod, valibot, arktype or any other Standard Schema. */
  readonly schema: S;
  /** Schema of what the handler returns. Default: anything. */
  readonly result?: R;
  /** Version of the payload's schema, from 1. Tasks of version 2 and up travel as type `<type>:v<version>`. Default 1. */
  readonly version?: number;
  /**
   * Turns the payload of an older version (1 … version - 1) into one that `schema` takes. Without it only tasks of this version
   * are handled; older ones find no handler.
   */
  readonly upcast?: (payload: unknown, version: number) => unknown;
}

/** A checked {@link TaskDefinition}. Hand it to `queue.enqueue` and to `@TaskHandler`. */
export interface TaskContract<
  S extends StandardSchemaV1 = StandardSchemaV1,
  R extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined,
> {
  readonly queue: string;
  readonly type: string;
  readonly version: number;
  readonly schema: S;
  readonly result: R;
  readonly upcast: ((payload: unknown, version: number) => unknown) | undefined;
  /** The type that new tasks travel under. */
  readonly wireType: string;
  /** The types that a handler takes, with the version that each stands for. */
  readonly handledTypes: ReadonlyMap<string, number>;
}

/** What a producer gives. */
export type TaskInput<C extends TaskContract> = StandardSchemaV1.InferInput<C['schema']>;
/** What the handler gets: the payload as the schema returns it. */
export type TaskPayload<C extends TaskContract> = StandardSchemaV1.InferOutput<C['schema']>;
/** What the handler returns. */
export type TaskReturn<C extends TaskContract> = C['result'] extends StandardSchemaV1 ? StandardSchemaV1.InferInput<C['result']> : unknown;
/** What whoever waits for the task gets. */
export type TaskResult<C extends TaskContract> = C['result'] extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<C['result']> : unknown;

/**
 * Declares a task type once for producers and handlers.
 * @throws JetlaneError `invalid-argument` for a wrong queue, type or version
 */
export function defineTask<S extends StandardSchemaV1, R extends StandardSchemaV1 | undefined = undefined>(
  definition: TaskDefinition<S, R>,
): TaskContract<S, R> {
  const { queue, type, schema, result, version = 1, upcast } = definition;
  if (!isQueueName(queue)) throw wrong('queue', 'a queue name such as "email"', queue);
  if (!isTaskType(type)) throw wrong('type', 'a task type: letters, digits and _ . : / -', type);
  if (!Number.isInteger(version) || version < 1) throw wrong('version', 'a whole number from 1', version);
  const typeOf = (of: number) => (of === 1 ? type : `${type}:v${of}`);
  const oldest = upcast ? 1 : version;
  const handledTypes = new Map(Array.from({ length: version - oldest + 1 }, (_, i) => [typeOf(oldest + i), oldest + i] as const));
  return { queue, type, version, schema, result: result as R, upcast, wireType: typeOf(version), handledTypes };
}

/** True for what {@link defineTask} returns. */
export const isContract = (value: unknown): value is TaskContract => typeof value === 'object' && value !== null && 'handledTypes' in value;

function wrong(field: string, expected: string, got: unknown): JetlaneError {
  return new JetlaneError('invalid-argument', `expected ${field} of a task definition to be ${expected}; got ${JSON.stringify(got)}`, {
    details: { field },
  });
}
