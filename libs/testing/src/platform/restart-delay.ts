const FIRST_MS = 100;
const LONGEST_MS = 30_000;
/** A process that ran this long is no crash loop. */
const HEALTHY_MS = 30_000;

/**
 * How long to wait before a restart: 100 ms at first (a single crash is repaired well within 2 s), doubled with every
 * further early death up to 30 s, so that a process that cannot start neither burns the processor nor fills the log.
 */
export class RestartDelay {
  #deaths = 0;

  /** @param uptimeMs how long the process had run when it died */
  next(uptimeMs: number): number {
    if (uptimeMs >= HEALTHY_MS) this.#deaths = 0;
    const delay = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#deaths);
    this.#deaths++;
    return delay;
  }

  /** After a restart that somebody asked for. */
  reset(): void {
    this.#deaths = 0;
  }
}
