import { JetlaneError } from '@jetlane/protocol';
import type { TaskContext } from '@jetlane/worker';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { ApplicationConfig, type ContextId, ContextIdFactory, ExternalContextCreator, ModuleRef } from '@nestjs/core';
import { Injector } from '@nestjs/core/injector/injector.js';
import type { InstanceWrapper } from '@nestjs/core/injector/instance-wrapper.js';
import { isObservable, lastValueFrom } from 'rxjs';
import type { TaskContract } from '../contracts/define-task.js';
import { acceptPayload, acceptResult } from '../contracts/validate.js';
import type { BatchContext } from './batch-context.js';
import { collect } from './collect.js';
import { taskStorage } from './current-task.js';
import { type Enhancers, enhancersOf } from './enhancers.js';
import { finalError } from './final-error.js';
import { classOf } from './handler-class.js';
import { markPlainParams, type ParamPlan, paramsFactory, planParams } from './params.js';

/** The kind of context that guards, interceptors and filters see: `context.getType() === 'task'`. */
export const TASK_CONTEXT = 'task';

/** What a request-scoped provider gets as `REQUEST` while a task is handled; for batches see {@link BatchRequest}. */
export interface TaskRequest {
  readonly data: unknown;
  readonly context: TaskContext;
}

/** Runs a method for a task, or for a batch. */
export type Call<C = TaskContext> = (data: unknown, context: C) => unknown;

/** A method of a provider. */
export interface Place {
  readonly wrapper: InstanceWrapper<object>;
  readonly method: string;
}

type Method = (...args: unknown[]) => unknown;
type Methods = Readonly<Record<string, Method>>;

/** Makes the arguments of a handler. */
type Arguments<D, C> = (data: D, context: C) => unknown[] | Promise<unknown[]>;

/** Makes those of a batch handler. */
export type BatchArguments = Arguments<readonly unknown[], BatchContext>;

/** What Nest's pipeline is to end in. */
interface Target {
  /** What Nest knows of the parameters, it knows by this name. */
  readonly name: string;
  readonly of: (instance: Methods) => Method;
}

/**
 * Makes a plain function of a method: through Nest's pipeline where any guard, interceptor, pipe or filter applies to it, straight where
 * none does.
 */
export class Invoker {
  private readonly injector = new Injector();

  constructor(
    private readonly creator: ExternalContextCreator,
    private readonly config: ApplicationConfig,
    private readonly moduleRef: ModuleRef,
  ) {}

  /** The method as a handler of tasks. @param asyncContext whether `currentTask()` works in it */
  handler(place: Place, contract: TaskContract | undefined, asyncContext: boolean): Call {
    const call = withFinalErrors(contract ? underContract(this.call(place), contract) : this.call(place));
    return asyncContext ? (data, context) => taskStorage.run(context, call, data, context) : call;
  }

  /** Calls the method with the payloads of a batch and its context; `fill` makes the arguments of them, where there is more to it. */
  batch(place: Place, fill?: BatchArguments): Call<BatchContext> {
    const { wrapper, method } = place;
    const enhancers = this.enhancers(place);
    // A name of its own: global pipes are to find the payloads, while those of the parameters have done their work.
    const name = `${method}:batch`;
    markPlainParams(classOf(wrapper)!, name);
    const of = (instance: Methods) => (fill ? withArguments(instance, instance[method]!, fill) : instance[method]!);
    if (!wrapper.isDependencyTreeStatic()) return this.perTask(wrapper, { name, of }, enhancers);
    const instance = wrapper.instance as Methods;
    if (enhancers.any) return this.pipeline(instance, { name, of }, enhancers);
    const call = of(instance);
    return (payloads, context) => call.call(instance, payloads, context);
  }

  /** How the method is called depends on who could stand in between, which is known once the application is initialised. */
  private call(place: Place): Call {
    const { wrapper, method } = place;
    const type = classOf(wrapper)!;
    const enhancers = this.enhancers(place);
    const plan = planParams(type, method);
    const straight = !enhancers.any && plan.simple;
    if (enhancers.pipes && plan.simple && !plan.fill) markPlainParams(type, method);
    const target = targetOf(method, plan, enhancers);
    if (!wrapper.isDependencyTreeStatic()) return this.perTask(wrapper, target, enhancers);
    const instance = wrapper.instance as Methods;
    if (!straight) return this.pipeline(instance, target, enhancers);
    const { fill } = plan;
    if (!fill) return (data, context) => instance[method]!(data, context);
    return (data, context) => {
      const args = collect(fill, data, context);
      return args instanceof Promise ? args.then((late) => instance[method]!(...late)) : instance[method]!(...args);
    };
  }

  private enhancers({ wrapper, method }: Place): Enhancers {
    const type = classOf(wrapper)!;
    const enhancers = enhancersOf(this.config, type, type.prototype[method]!);
    if (wrapper.isNotMetatype && enhancers.classes.length > 0) throw unreachableEnhancers(`${type.name}.${method}`, enhancers.classes);
    return enhancers;
  }

  /** A request-scoped class is made anew for each task or batch, with all that depends on the request. */
  private perTask<C>(wrapper: InstanceWrapper<object>, target: Target, enhancers: Enhancers): Call<C> {
    return async (data, context) => {
      const request = { data, context };
      const contextId = ContextIdFactory.getByRequest(request);
      this.moduleRef.registerRequestByContextId(contextId.getParent ? contextId.payload : request, contextId);
      const host = wrapper.host!;
      const instance = await this.injector.loadPerContext(wrapper.instance, host, host.providers, contextId, wrapper);
      return this.pipeline<C>(instance as Methods, target, enhancers, contextId, wrapper.id)(data, context);
    };
  }

  private pipeline<C>(instance: Methods, target: Target, { filters }: Enhancers, contextId?: ContextId, inquirer?: string): Call<C> {
    // Without filters Nest's own would only log what the worker reports anyway.
    const options = { guards: true, interceptors: true, filters };
    return this.creator.create(
      instance,
      target.of(instance),
      target.name,
      ROUTE_ARGS_METADATA,
      paramsFactory,
      contextId,
      inquirer,
      options,
      TASK_CONTEXT,
    ) as Call<C>;
  }
}

/**
 * What Nest is to call. It fills parameters one by one, with an await and a look for pipes for each; where no pipe applies and the parameters
 * are ours, it gets a method that takes payload and context as they come, under a name of which it knows no parameters.
 */
function targetOf(method: string, { simple, fill }: ParamPlan, { pipes }: Enhancers): Target {
  if (pipes || !simple) return { name: method, of: (instance) => instance[method]! };
  const filled: Arguments<unknown, TaskContext> | undefined = fill && ((data, context) => collect(fill, data, context));
  return { name: `${method}:task`, of: (instance) => (filled ? withArguments(instance, instance[method]!, filled) : instance[method]!) };
}

/** The method with other arguments; for guards and reflectors it is the method, with its name and its metadata. */
function withArguments<D, C>(instance: Methods, method: Method, fill: Arguments<D, C>): Method {
  const filled: Method = (data, context) => {
    const args = fill(data as D, context as C);
    return args instanceof Promise ? args.then((late) => method.apply(instance, late)) : method.apply(instance, args);
  };
  Object.defineProperty(filled, 'name', { value: method.name });
  for (const key of Reflect.getMetadataKeys(method)) Reflect.defineMetadata(key, Reflect.getMetadata(key, method), filled);
  return filled;
}

/** Nest registers the enhancers of classes that it makes itself; those of others it would pass over without a word, guards too. */
function unreachableEnhancers(label: string, classes: readonly string[]): JetlaneError {
  return new JetlaneError(
    'invalid-configuration',
    `${label} is on an instance that a factory or a value gives, so Nest would ignore ${classes.join(', ')}; provide the class itself, or use an instance of the enhancer`,
    { details: { where: label } },
  );
}

/** Payload and result are checked around all else: guards and interceptors see only what fits. */
function underContract(call: Call, contract: TaskContract): Call {
  const accept = (result: unknown) => acceptResult(contract, result);
  const run = (payload: unknown, context: TaskContext) => {
    const result = call(payload, context);
    if (!contract.result) return result;
    const plain = isObservable(result) ? lastOf(result) : result;
    return plain instanceof Promise ? plain.then(accept) : accept(plain);
  };
  return (data, context) => {
    const payload = acceptPayload(contract, context.type, data);
    return payload instanceof Promise ? payload.then((late) => run(late, context)) : run(payload, context);
  };
}

/** An Observable stands for its last value; an HTTP error that says "your data is wrong" is final. */
export function withFinalErrors<C>(call: Call<C>): Call<C> {
  return (data, context) => {
    try {
      const result = call(data, context);
      if (result instanceof Promise) return result.then(unwrap, rethrow);
      return isObservable(result) ? lastOf(result).catch(rethrow) : result;
    } catch (error) {
      return rethrow(error);
    }
  };
}

const lastOf = (observable: Parameters<typeof lastValueFrom>[0]): Promise<unknown> =>
  lastValueFrom(observable, { defaultValue: undefined });

const unwrap = (result: unknown): unknown => (isObservable(result) ? lastOf(result) : result);

function rethrow(error: unknown): never {
  throw finalError(error);
}
