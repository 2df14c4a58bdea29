import type { HeldTask } from './held-task.js';

/**
 * Tasks that stood beside two deaths of a worker run one at a time: one of them may be the cause, and beside it all others
 * would be suspected once more, until they are dead letters for nothing. After a while the next one may begin beside a long run.
 */
export class Suspects {
  private readonly waiting: { readonly task: HeldTask; readonly go: (alone: boolean) => void }[] = [];
  private current: HeldTask | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  /** @param longestMs how long one may keep the others waiting */
  constructor(private readonly longestMs: number) {}

  /** Resolves with true when it is the task's turn, with false when the worker stops before. */
  turn(task: HeldTask): Promise<boolean> {
    if (this.stopped) return Promise.resolve(false);
    if (this.current === task) return Promise.resolve(true);
    return new Promise((go) => {
      this.waiting.push({ task, go });
      if (this.current === undefined) this.next();
    });
  }

  /** The task is over. Does nothing for one that has no turn. */
  leave(task: HeldTask): void {
    if (this.current === task) this.next();
  }

  /** Nobody begins any more. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    for (const { go } of this.waiting.splice(0)) go(false);
  }

  private next(): void {
    clearTimeout(this.timer);
    const first = this.waiting.shift();
    this.current = first?.task;
    if (!first) return;
    this.timer = setTimeout(() => this.next(), this.longestMs);
    first.go(true);
  }
}
