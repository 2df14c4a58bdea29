const RealDate = Date;
let shiftMs = 0;

/** A clock that somebody set wrong: all that asks for the time of day gets another one. */
class WrongDate extends RealDate {
  constructor(...given: [] | [value: string | number | Date]) {
    if (given.length === 0) super(RealDate.now() + shiftMs);
    else super(given[0]);
  }

  static override now(): number {
    return RealDate.now() + shiftMs;
  }
}

/** Sets this process's time of day ahead (or back), in ms. Timers and `performance.now()` are not concerned. */
export function setClock(ms: number): void {
  shiftMs = ms;
  globalThis.Date = WrongDate as DateConstructor;
}

/** The time of day as the others have it, ms since 1970. */
export const realNow = (): number => RealDate.now();

/** Lets all durations be measured by the time of day. */
export function measureByTimeOfDay(): void {
  const began = RealDate.now();
  performance.now = () => Date.now() - began;
}
