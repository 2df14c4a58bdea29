import type { HeldTask } from './held-task.js';

/**
 * The tasks that a worker holds, oldest first. Linked through the tasks themselves: every task is added and removed once, and
 * a set of them would be rehashed again and again.
 */
export class HeldList implements Iterable<HeldTask> {
  private first: HeldTask | undefined;
  private last: HeldTask | undefined;

  get empty(): boolean {
    return this.first === undefined;
  }

  add(task: HeldTask): void {
    task.before = this.last;
    if (this.last) this.last.after = task;
    else this.first = task;
    this.last = task;
  }

  /** Does nothing for a task that is not in the list. */
  delete(task: HeldTask): void {
    const { before, after } = task;
    if (!before && this.first !== task) return;
    if (before) before.after = after;
    else this.first = after;
    if (after) after.before = before;
    else this.last = before;
    task.before = undefined;
    task.after = undefined;
  }

  /** The task that is looked at may be removed meanwhile. */
  *[Symbol.iterator](): Generator<HeldTask> {
    for (let task = this.first; task; ) {
      const next = task.after;
      yield task;
      task = next;
    }
  }
}
