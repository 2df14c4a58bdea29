import { EventEmitter } from 'node:events';
import { inspect } from 'node:util';
import type { ErrorRecord, Lane } from '@jetlane/protocol';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';
import type { WorkerLog } from './options.js';

/** What every task event tells. */
export interface TaskEvent {
  readonly id: string;
  readonly queue: string;
  readonly lane: Lane;
  readonly type: string;
  readonly attempt: number;
}

/** A lane that gets no tasks though the server has some, and new pulls did not help. */
export interface StuckLane {
  readonly queue: string;
  readonly lane: Lane;
  readonly reason: string;
  /** For how long nothing came, in ms. */
  readonly forMs: number;
}

/** Events of a worker and what they carry. */
export interface WorkerEvents {
  'task:started': TaskEvent;
  /** At every `context.progress()`. */
  'task:progress': TaskEvent & { readonly progress: unknown };
  'task:completed': TaskEvent & { readonly result: unknown };
  'task:failed': TaskEvent & { readonly error: ErrorRecord; readonly retryInMs: number };
  'task:dead': TaskEvent & { readonly error: ErrorRecord; readonly reason: string };
  'task:cancelled': TaskEvent & { readonly reason: string };
  'task:interrupted': TaskEvent;
  /** The lease ran out before the outcome was stored; another worker runs the task. */
  'lease:lost': TaskEvent;
  /** Told again every few seconds while it lasts: whoever runs the worker decides when to end the process. */
  'lane:stuck': StuckLane;
  'lane:recovered': Omit<StuckLane, 'reason' | 'forMs'>;
}

/** Which event tells of an outcome; a duplicate is nobody's news. */
export const EVENT_OF: Readonly<Record<Outcome['kind'], keyof WorkerEvents | undefined>> = {
  completed: 'task:completed',
  retry: 'task:failed',
  dead: 'task:dead',
  cancelled: 'task:cancelled',
  interrupted: 'task:interrupted',
  duplicate: undefined,
};

export function eventOf(task: HeldTask): TaskEvent {
  return { id: task.id, queue: task.queue, lane: task.lane, type: task.type, attempt: task.headers.attempt };
}

/** Typed events whose listeners cannot hurt the worker: what they throw is logged. */
export class WorkerEmitter {
  private readonly emitter = new EventEmitter();

  constructor(private readonly log: WorkerLog) {
    this.emitter.setMaxListeners(0);
  }

  on<E extends keyof WorkerEvents>(event: E, listener: (payload: WorkerEvents[E]) => void): () => void {
    const safe = (payload: WorkerEvents[E]) => this.guard(event, () => listener(payload));
    this.emitter.on(event, safe);
    return () => this.emitter.off(event, safe);
  }

  /** True when somebody listens: a payload need not be built for nobody. */
  heard(event: keyof WorkerEvents): boolean {
    return this.emitter.listenerCount(event) > 0;
  }

  emit<E extends keyof WorkerEvents>(event: E, payload: WorkerEvents[E]): void {
    this.emitter.emit(event, payload);
  }

  private guard(event: string, call: () => unknown): void {
    const complain = (error: unknown) =>
      this.log.error({ event, error: error instanceof Error ? error.message : inspect(error) }, 'listener:failed');
    try {
      const returned = call();
      if (returned instanceof Object && 'then' in returned) Promise.resolve(returned).catch(complain);
    } catch (error) {
      complain(error);
    }
  }
}
