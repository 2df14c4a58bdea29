import type { TaskContext as Context } from '@jetlane/worker';
import type { ExecutionContext, PipeTransform, Type } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import type { ParamsFactory } from '@nestjs/core/helpers/external-context-creator.js';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { checkValue, wrongPayload } from '../contracts/validate.js';

/** What a parameter gets. The payload has the number of an HTTP body, so that pipes such as ValidationPipe treat it as one. */
export const PARAM = { data: 3, context: 101, signal: 102 } as const;

/** A pipe, or a class of pipes. */
export type Pipe = PipeTransform | Type<PipeTransform>;

/** One parameter as decorators write it down; the form is Nest's own. */
export interface ParamMark {
  readonly index: number;
  readonly data: string | undefined;
  readonly pipes: readonly Pipe[];
  /** Of a decorator made by `createParamDecorator`. */
  readonly factory?: (data: unknown, context: ExecutionContext) => unknown;
}

/** How a parameter is filled without Nest's pipeline. */
export type Fill = (data: unknown, context: Context) => unknown;

/** Checks a parameter; the last of its pipes. */
export class SchemaPipe implements PipeTransform {
  constructor(private readonly schema: StandardSchemaV1) {}

  transform(value: unknown): unknown {
    return checkValue(this.schema, value, wrongPayload());
  }
}

/**
 * The payload, or one field of it: `@TaskData() mail: Mail`, `@TaskData('to', TrimPipe)`, `@TaskData(mailSchema)`. What does not fit the
 * schema makes the task dead at once; the issues are in its error. In a batch handler a list of them: schema and pipes look at each payload
 * by itself, and only the task whose payload does not fit is dead.
 */
export function TaskData(...rules: (string | StandardSchemaV1 | Pipe)[]): ParameterDecorator {
  const field = rules.find((rule) => typeof rule === 'string');
  const pipes = rules
    .filter((rule) => typeof rule !== 'string')
    .map((rule) => ('~standard' in rule ? new SchemaPipe(rule as StandardSchemaV1) : (rule as Pipe)));
  return mark(PARAM.data, field, pipes);
}

/**
 * What a handler knows about the run it is in. One name for the decorator and the type: `@TaskContext() context: TaskContext`. A batch
 * handler gets a {@link BatchContext}.
 */
export const TaskContext = (): ParameterDecorator => mark(PARAM.context, undefined, []);
export type TaskContext = Context;

/** The AbortSignal that fires when the run should end; in a batch handler, when that of every task of the batch has. */
export const TaskSignal = (): ParameterDecorator => mark(PARAM.signal, undefined, []);

function mark(kind: number, data: string | undefined, pipes: readonly Pipe[]): ParameterDecorator {
  return (target, key, index) => {
    const known = (Reflect.getMetadata(ROUTE_ARGS_METADATA, target.constructor, key!) as object | undefined) ?? {};
    const param: ParamMark = { index, data, pipes };
    Reflect.defineMetadata(ROUTE_ARGS_METADATA, { ...known, [`${kind}:${index}`]: param }, target.constructor, key!);
  };
}

/** Reads one field of a payload, or the whole. */
export const fieldOf = (field: string | undefined): ((data: unknown) => unknown) =>
  field === undefined ? (data) => data : (data) => (data as Readonly<Record<string, unknown>> | null | undefined)?.[field];

const FILL: Readonly<Record<number, (field: string | undefined) => Fill>> = {
  [PARAM.data]: (field) => fieldOf(field),
  [PARAM.context]: () => (_, context) => context,
  [PARAM.signal]: () => (_, context) => context.signal,
};

/** Fills our parameters inside Nest's pipeline, whose arguments are the payload and the context. */
export const paramsFactory: ParamsFactory = {
  exchangeKeyForValue: (kind: number, field: unknown, [data, context]: [unknown, Context]): unknown =>
    FILL[kind]?.(field as string | undefined)(data, context),
};

/** What the parameters of a method need. */
export interface ParamPlan {
  /** By parameter; undefined where a method has no parameter decorators: it gets payload and context. */
  readonly fill: readonly Fill[] | undefined;
  /** Whether only decorators of ours are there, with no pipe but schemas. */
  readonly simple: boolean;
}

/** Reads the parameter decorators of a method. */
export function planParams(type: object, method: string): ParamPlan {
  const marks = (Reflect.getMetadata(ROUTE_ARGS_METADATA, type, method) ?? {}) as Readonly<Record<string, ParamMark>>;
  const entries = Object.entries(marks);
  if (entries.length === 0) return { fill: undefined, simple: true };
  const fill: Fill[] = [];
  for (const [key, { index, data, pipes }] of entries) {
    const base = FILL[Number(key.split(':')[0])]?.(data);
    if (!base || !pipes.every((pipe) => pipe instanceof SchemaPipe)) return { fill: undefined, simple: false };
    fill[index] = (pipes as readonly SchemaPipe[]).reduce<Fill>((before, pipe) => then(before, pipe), base);
  }
  return { fill: Array.from(fill, (one) => one ?? (() => undefined)), simple: true };
}

const then =
  (before: Fill, pipe: SchemaPipe): Fill =>
  (data, context) => {
    const value = before(data, context);
    return value instanceof Promise ? value.then((late) => pipe.transform(late)) : pipe.transform(value);
  };

/** Gives a method without parameter decorators those that it seems to have, so that pipes find its payload. */
export function markPlainParams(type: object, method: string): void {
  const plain = { [`${PARAM.data}:0`]: { index: 0, pipes: [] }, [`${PARAM.context}:1`]: { index: 1, pipes: [] } };
  Reflect.defineMetadata(ROUTE_ARGS_METADATA, plain, type, method);
}
