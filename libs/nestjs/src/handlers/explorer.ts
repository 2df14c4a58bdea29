import { JetlaneError } from '@jetlane/protocol';
import { DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import type { InstanceWrapper } from '@nestjs/core/injector/instance-wrapper.js';
import { assertKnown } from '../module/check-options.js';
import { classOf } from './handler-class.js';
import type { Place } from './invoker.js';
import {
  type AnyHandlerOptions,
  type FromContainer,
  HANDLER_MARKS,
  type HandlerMark,
  LISTENER_MARKS,
  type ListenerMark,
  marksOf,
  QUEUE_MARKS,
  type QueueMark,
  type TaskQueueOptions,
} from './metadata.js';

const QUEUE_OPTIONS = ['queue', 'connection', 'concurrency', 'rate', 'mode', 'settleWindow'] as const satisfies (
  | keyof TaskQueueOptions
  | 'queue'
)[];

/** A class and one of its queues, with the options resolved. */
export interface FoundClass {
  readonly queue: string;
  readonly options: TaskQueueOptions;
  /** `MailHandlers of MailModule`. */
  readonly label: string;
  readonly handlers: readonly FoundHandler[];
  readonly listeners: readonly FoundListener[];
}

/** A method that handles tasks. */
export interface FoundHandler extends HandlerMark {
  readonly place: Place;
  /** `MailHandlers.welcome of MailModule`. */
  readonly label: string;
  readonly options: AnyHandlerOptions;
}

/** A method that hears of tasks. */
export interface FoundListener extends ListenerMark {
  readonly place: Place;
  readonly label: string;
}

/** Finds the decorated classes of an application. */
export class TaskExplorer {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly moduleRef: ModuleRef,
  ) {}

  /**
   * Every class with a queue of this connection, once per queue.
   * @throws JetlaneError `invalid-configuration` for marks that cannot work
   */
  async explore(connection: string): Promise<FoundClass[]> {
    const found: FoundClass[] = [];
    for (const wrapper of this.classes()) {
      const marks = marksOf<QueueMark>(QUEUE_MARKS, classOf(wrapper)!);
      for (const mark of marks) if (mark.connection === connection) found.push(await this.readClass(wrapper, mark, marks));
    }
    return found;
  }

  /** Providers with a mark, also those that a factory or a value gives; an instance that stands under two tokens counts once. */
  private classes(): InstanceWrapper<object>[] {
    const controller = (this.discovery.getControllers() as InstanceWrapper<object>[]).find(isMarked);
    if (controller) throw onController(labelOf(controller));
    const homeless = (this.discovery.getProviders() as InstanceWrapper<object>[]).find((wrapper) => this.isHomeless(wrapper));
    if (homeless) throw withoutQueue(labelOf(homeless));
    const marked = (this.discovery.getProviders() as InstanceWrapper<object>[]).filter((wrapper) => !wrapper.isAlias && isMarked(wrapper));
    const made = new Set(marked.filter(({ isNotMetatype }) => !isNotMetatype).map(({ instance }) => instance));
    return marked.filter(({ isNotMetatype, instance }) => !isNotMetatype || (!made.has(instance) && made.add(instance)));
  }

  /** Its handlers would never be called. */
  private isHomeless(wrapper: InstanceWrapper<object>): boolean {
    const prototype = classOf(wrapper)?.prototype;
    if (!prototype || wrapper.isAlias || isMarked(wrapper)) return false;
    return this.scanner.getAllMethodNames(prototype).some((method) => Reflect.hasMetadata(HANDLER_MARKS, prototype[method]!));
  }

  private async readClass(wrapper: InstanceWrapper<object>, mark: QueueMark, marks: readonly QueueMark[]): Promise<FoundClass> {
    const label = labelOf(wrapper);
    const options = (await this.resolve(mark.options)) as TaskQueueOptions & { readonly queue?: string };
    assertKnown(options, QUEUE_OPTIONS, `@TaskQueue on ${label}`);
    const queue = mark.queue ?? options.queue;
    if (typeof queue !== 'string') {
      throw new JetlaneError('invalid-configuration', `the factory of @TaskQueue on ${label} gave no queue; return { queue, … }`, {
        details: { where: label },
      });
    }
    const prototype = classOf(wrapper)!.prototype;
    const methods = this.scanner.getAllMethodNames(prototype);
    const handlers: FoundHandler[] = [];
    const listeners: FoundListener[] = [];
    for (const method of methods) {
      const about = { place: { wrapper, method }, label: labelOf(wrapper, `.${method}`) };
      const handlerMarks = marksOf<HandlerMark>(HANDLER_MARKS, prototype[method]!);
      assertOneKind(handlerMarks, about.label);
      for (const one of handlerMarks) {
        assertOwnQueue(one, about.label, marks);
        if (one.queue === undefined || one.queue === queue) handlers.push({ ...one, ...about, options: await this.resolve(one.options) });
      }
      for (const one of marksOf<ListenerMark>(LISTENER_MARKS, prototype[method]!)) listeners.push(checkListener({ ...one, ...about }));
    }
    return { queue, options, label, handlers, listeners };
  }

  /** Options as they are, or made with providers from anywhere in the application. */
  private async resolve<T extends object>(options: T | FromContainer<T>): Promise<T> {
    if (!('useFactory' in options)) return options;
    return options.useFactory(...(options.inject ?? []).map((token) => this.get(token)));
  }

  /** Whether the application has a provider of this token. */
  provides(token: string): boolean {
    return this.get({ token, optional: true }) !== undefined;
  }

  private get(wanted: NonNullable<FromContainer<object>['inject']>[number]): unknown {
    const { token, optional } = typeof wanted === 'object' && 'token' in wanted ? wanted : { token: wanted, optional: false };
    try {
      return this.moduleRef.get<unknown>(token, { strict: false });
    } catch (error) {
      if (optional) return undefined;
      throw error;
    }
  }
}

function isMarked(wrapper: InstanceWrapper<object>): boolean {
  const type = classOf(wrapper);
  return type !== undefined && Reflect.hasMetadata(QUEUE_MARKS, type);
}

const labelOf = (wrapper: InstanceWrapper<object>, method = ''): string =>
  `${classOf(wrapper)!.name}${method} of ${wrapper.host?.name ?? 'an unknown module'}`;

function withoutQueue(label: string): JetlaneError {
  return new JetlaneError('invalid-configuration', `${label} has handlers of tasks, but no queue; put @TaskQueue("…") on the class`, {
    details: { where: label },
  });
}

/** Nest would look for the guards of its handlers among providers, and find none. */
function onController(label: string): JetlaneError {
  return new JetlaneError('invalid-configuration', `${label} is a controller and cannot be a @TaskQueue; move the handlers to a provider`, {
    details: { where: label },
  });
}

/** One payload and a list of them need different methods. */
function assertOneKind(marks: readonly HandlerMark[], label: string): void {
  if (marks.every(({ kind }) => kind === marks[0]!.kind)) return;
  throw new JetlaneError('invalid-configuration', `${label} has @TaskHandler and @BatchHandler; give each a method of its own`, {
    details: { where: label },
  });
}

/** A contract's handler on a class without the contract's queue would never be called. */
function assertOwnQueue(mark: HandlerMark, label: string, marks: readonly QueueMark[]): void {
  if (mark.queue === undefined || marks.some(({ queue }) => queue === undefined || queue === mark.queue)) return;
  const queues = marks.map(({ queue }) => `"${queue}"`).join(', ');
  throw new JetlaneError(
    'invalid-configuration',
    `${label} handles task type "${mark.types[0]}" of queue "${mark.queue}", but its class has ${queues}; add @TaskQueue("${mark.queue}")`,
    { details: { where: label, queue: mark.queue } },
  );
}

function checkListener(listener: FoundListener): FoundListener {
  if (listener.place.wrapper.isDependencyTreeStatic()) return listener;
  throw new JetlaneError(
    'invalid-configuration',
    `${listener.label} listens to "${listener.event}", but its class is request-scoped and has no instance between tasks; move it to a class of its own`,
    { details: { where: listener.label } },
  );
}
