/** How much of a worker's slots handlers use: time that runs took, over time that slots stood ready. */
export class Utilisation {
  private finishedMs = 0;
  private last: { readonly at: number; readonly usedMs: number } | undefined;

  /** A run has ended. @param ms how long it took */
  ran(ms: number): void {
    this.finishedMs += ms;
  }

  /**
   * Share of the slots' time since the last call that runs took, 0 to 1.
   * @param running start of every run that goes on now, ms since 1970
   */
  read(now: number, slots: number, running: Iterable<number>): number {
    let usedMs = this.finishedMs;
    for (const startedAt of running) usedMs += Math.max(0, now - startedAt);
    const { last } = this;
    this.last = { at: now, usedMs };
    if (!last || now <= last.at || slots <= 0) return 0;
    const share = (usedMs - last.usedMs) / ((now - last.at) * slots);
    return Math.round(Math.min(1, Math.max(0, share)) * 1000) / 1000;
  }
}
