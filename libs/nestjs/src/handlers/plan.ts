import { closest, JetlaneError } from '@jetlane/protocol';
import type { BatchHandlerOptions, HandlerOptions, WorkerOptions } from '@jetlane/worker';
import { checkBatchOptions, checkHandlerOptions } from '../module/check-options.js';
import type { FoundClass, FoundListener } from './explorer.js';
import type { TaskQueueOptions } from './metadata.js';

type Told = Pick<TaskQueueOptions, 'concurrency' | 'rate' | 'mode' | 'settleWindow'>;
const TOLD: readonly (keyof Told)[] = ['concurrency', 'rate', 'mode', 'settleWindow'];

/** A handler of either kind. */
export type PlannedHandler = HandlerOptions | BatchHandlerOptions;

/** The worker of one queue, as its classes describe it. */
export class QueuePlan {
  readonly handlers: Record<string, PlannedHandler> = Object.create(null) as Record<string, PlannedHandler>;
  readonly listeners: FoundListener[] = [];
  private readonly places = new Map<string, string>();
  private readonly told = new Map<keyof Told, { readonly value: unknown; readonly label: string }>();

  constructor(readonly queue: string) {}

  /** @throws JetlaneError `duplicate-handler`, which names both places; `invalid-configuration` for options that cannot work */
  add(type: string, handler: PlannedHandler, label: string): void {
    if ('handleBatch' in handler) checkBatchOptions(handler, label);
    else checkHandlerOptions(handler, label);
    const other = this.places.get(type);
    if (other !== undefined) {
      throw new JetlaneError(
        'duplicate-handler',
        `task type "${type}" of queue "${this.queue}" has two handlers: ${other} and ${label}; remove one, or give it another type`,
        { details: { queue: this.queue, type, places: [other, label] } },
      );
    }
    this.places.set(type, label);
    this.handlers[type] = handler;
  }

  /** @throws JetlaneError `invalid-configuration` when two classes want different things of their one worker */
  tell({ options, label }: Pick<FoundClass, 'options' | 'label'>): void {
    for (const name of TOLD) {
      const value = options[name];
      if (value === undefined) continue;
      const other = this.told.get(name);
      if (other && JSON.stringify(other.value) !== JSON.stringify(value)) {
        throw new JetlaneError(
          'invalid-configuration',
          `queue "${this.queue}" gets ${name} ${JSON.stringify(other.value)} from ${other.label} and ${JSON.stringify(value)} from ${label}; set it in one place`,
          { details: { queue: this.queue, places: [other.label, label] } },
        );
      }
      this.told.set(name, { value, label });
    }
  }

  /** Options of its worker. */
  workerOptions(): Pick<WorkerOptions, 'queue' | 'handlers'> & Told {
    const told = Object.fromEntries([...this.told].map(([name, { value }]) => [name, value])) as Told;
    return { queue: this.queue, handlers: this.handlers, ...told };
  }
}

/** A class for a queue that nobody registered: most likely a slip of the pen. */
export function unknownQueue(queue: string, label: string, registered: readonly string[]): JetlaneError {
  const nearest = closest(queue, registered);
  const hint = nearest
    ? `did you mean "${nearest}"?`
    : `add JetlaneModule.registerQueue({ name: "${queue}" }); registered are: ${registered.join(', ') || 'none'}`;
  return new JetlaneError('unknown-queue', `${label} is a @TaskQueue of "${queue}", which is not registered; ${hint}`, {
    details: { queue, where: label },
  });
}

/** A double in the place of a queue, as tests have: the queue itself was never opened. */
export function overriddenQueue(queue: string, label: string): JetlaneError {
  return new JetlaneError(
    'unknown-queue',
    `${label} handles tasks of "${queue}", whose provider was overridden; use overrideQueue(builder, "${queue}", double) of @jetlane/testing/nestjs, or withoutWorkers(builder)`,
    { details: { queue, where: label } },
  );
}
