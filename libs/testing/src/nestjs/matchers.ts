import type { Queue, TaskContract } from '@jetlane/nestjs';
import type { Lane } from '@jetlane/protocol';
import { type WaitingTask, waitingTasks } from './waiting-tasks.js';

/** A task that a queue should have; what is not given may be anything. */
export interface ExpectedTask {
  readonly type?: string | TaskContract;
  /** May use asymmetric matchers such as `expect.objectContaining`. */
  readonly data?: unknown;
  readonly lane?: Lane;
  readonly key?: string;
  readonly group?: string;
  /** Behind a timer. */
  readonly delayed?: boolean;
  /** How many such tasks. Default: at least one. */
  readonly times?: number;
}

/** For `declare module 'vitest' { interface Matchers<T> extends JetlaneMatchers<T> {} }`, or the like of jest. */
export interface JetlaneMatchers<R = unknown> {
  /** Passes when such a task waits in the queue. Asynchronous: `await expect(queue).toHaveEnqueued({ type: 'welcome' })`. */
  toHaveEnqueued(expected: ExpectedTask): Promise<R>;
}

interface MatcherContext {
  readonly equals: (actual: unknown, expected: unknown) => boolean;
}

/** For `expect.extend(jetlaneMatchers)`, of vitest or jest. */
export const jetlaneMatchers = {
  async toHaveEnqueued(this: MatcherContext, queue: Queue, expected: ExpectedTask) {
    const { times, ...wanted } = expected;
    const type = typeof wanted.type === 'object' ? wanted.type.wireType : wanted.type;
    const entries = Object.entries({ ...wanted, ...(type === undefined ? {} : { type }) });
    const waiting = await waitingTasks(queue.connection, queue.name);
    const matching = waiting.filter((task) => entries.every(([field, value]) => this.equals(task[field as keyof WaitingTask], value)));
    const pass = times === undefined ? matching.length > 0 : matching.length === times;
    const message = () => {
      const found = waiting.map(({ type: of, data, lane }) => `  ${of} (${lane}) ${JSON.stringify(data)}`).join('\n') || '  nothing';
      const what = `${pass ? 'no' : (times ?? 'a')} task like ${JSON.stringify(Object.fromEntries(entries))}`;
      return `expected ${what} in queue "${queue.name}", which has ${matching.length} such; it holds:\n${found}`;
    };
    return { pass, message };
  },
};
