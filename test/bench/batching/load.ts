/** What every side puts into its queue: made anew for each, as callers do. */
export interface Item {
  readonly id: number;
  readonly user: string;
}

export const itemOf = (id: number): Item => ({ id, user: 'user-000481' });

export const BATCH_SIZE = 100;
/** Items that a side without back-pressure of its own lets pile up before it waits. */
export const WINDOW = 10_000;

/** Items of a round, in parts of the window. */
export function* parts(count: number): Generator<Item[]> {
  for (let at = 0; at < count; at += WINDOW) yield Array.from({ length: Math.min(WINDOW, count - at) }, (_, index) => itemOf(at + index));
}
