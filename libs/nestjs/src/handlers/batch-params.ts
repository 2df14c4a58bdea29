import { JetlaneError } from '@jetlane/protocol';
import type { PipeTransform } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import type { BatchContext } from './batch-context.js';
import { classOf } from './handler-class.js';
import type { Place } from './invoker.js';
import { fieldOf, PARAM, type ParamMark, type Pipe } from './params.js';

/** What the pipes and schemas of one parameter make of one payload, at once or as a promise. */
export type ItemRule = (payload: unknown) => unknown;

/** Gives a parameter its value. `accepted`: per item, what each {@link ItemRule} made of it. */
type BatchFill = (payloads: readonly unknown[], context: BatchContext, accepted: readonly (readonly unknown[])[]) => unknown;

/** How the parameters of a batch handler are filled. */
export interface BatchParams {
  /** Of the parameters that have pipes or a schema. */
  readonly rules: readonly ItemRule[];
  /** By parameter; undefined where a method has no parameter decorators: it gets the payloads and the context. */
  readonly fill: readonly BatchFill[] | undefined;
}

/**
 * Reads the parameter decorators of a batch handler. Pipes and schemas of a parameter look at each payload by itself, before its task joins a
 * batch: so Nest, which would give them the list, has no part in it.
 * @param contextType what `getType()` says to a custom decorator
 */
export function planBatchParams(place: Place, contextType: string): BatchParams {
  const type = classOf(place.wrapper)!;
  const marks = (Reflect.getMetadata(ROUTE_ARGS_METADATA, type, place.method) ?? {}) as Readonly<Record<string, ParamMark>>;
  const rules: ItemRule[] = [];
  const fill: BatchFill[] = [];
  for (const [key, mark] of Object.entries(marks)) {
    const pipes = mark.pipes.map((pipe) => instanceOf(pipe, place));
    const kind = Number(key.split(':')[0]);
    if (mark.factory) fill[mark.index] = custom(mark, place, contextType);
    else if (kind !== PARAM.data) fill[mark.index] = kind === PARAM.context ? (_, context) => context : (_, context) => context.signal;
    else if (pipes.length === 0) fill[mark.index] = mark.data === undefined ? same : (payloads) => payloads.map(fieldOf(mark.data));
    else {
      const rule = rules.push(ruleOf(mark.data, pipes)) - 1;
      fill[mark.index] = (_, __, accepted) => accepted.map((values) => values[rule]);
    }
  }
  return { rules, fill: fill.length === 0 ? undefined : Array.from(fill, (one) => one ?? (() => undefined)) };
}

const same: BatchFill = (payloads) => payloads;

function ruleOf(field: string | undefined, pipes: readonly PipeTransform[]): ItemRule {
  const pick = fieldOf(field);
  // As an HTTP body, so that a ValidationPipe does its work; the parameter's own type is that of a list.
  const metadata = { type: 'body', metatype: undefined, data: field } as const;
  const through = (value: unknown, pipe: PipeTransform): unknown =>
    value instanceof Promise ? value.then((late) => pipe.transform(late, metadata)) : pipe.transform(value, metadata);
  return (payload) => pipes.reduce(through, pick(payload));
}

/** A decorator of the application's own, by `createParamDecorator`. */
function custom({ factory, data, pipes }: ParamMark, place: Place, contextType: string): BatchFill {
  if (pipes.length > 0) throw wrongPipe(place, 'has pipes on a custom parameter decorator, which batch handlers do not run');
  const type = classOf(place.wrapper)!;
  return (payloads, context) => {
    const host = new ExecutionContextHost([payloads, context], type as never, type.prototype[place.method] as never);
    host.setType(contextType);
    return factory!(data, host);
  };
}

/** Nest makes instances of pipe classes in the module that provides the handler's class. */
function instanceOf(pipe: Pipe, place: Place): PipeTransform {
  if (typeof pipe !== 'function') return pipe;
  const made = place.wrapper.host?.injectables.get(pipe);
  if (!made?.instance || !made.isDependencyTreeStatic()) throw wrongPipe(place, `cannot use ${pipe.name} per item; give an instance of it`);
  return made.instance as PipeTransform;
}

function wrongPipe({ wrapper, method }: Place, what: string): JetlaneError {
  const label = `${classOf(wrapper)!.name}.${method}`;
  return new JetlaneError('invalid-configuration', `${label} ${what}`, { details: { where: label } });
}
