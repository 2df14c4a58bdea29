import { writeSync } from 'node:fs';

/** Input of this program: its first argument. */
export const inputOf = <T>(): T => JSON.parse(process.argv[2]!) as T;

/** At once and unbuffered: the next line of this program may be its last. */
export const say = (event: string, facts: object = {}): void => void writeSync(1, `${JSON.stringify({ event, ...facts })}\n`);

/** A program never outlives whoever started it. */
export function endWithParent(): void {
  process.once('disconnect', () => process.exit(0));
}
