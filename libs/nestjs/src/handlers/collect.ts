/** What each function makes of the arguments, at once where none of them gives a promise. Throws what the first one throws. */
export function collect<A extends unknown[]>(makers: readonly ((...args: A) => unknown)[], ...args: A): unknown[] | Promise<unknown[]> {
  const values: unknown[] = [];
  try {
    for (const make of makers) values.push(make(...args));
  } catch (error) {
    // Nobody waits for the promises before it any more; one that is rejected would end the process.
    for (const value of values) if (value instanceof Promise) value.catch(() => undefined);
    throw error;
  }
  return values.some((value) => value instanceof Promise) ? Promise.all(values) : values;
}
