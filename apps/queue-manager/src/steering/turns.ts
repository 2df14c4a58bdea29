/** One of several that are prepared side by side and sent one after the other. */
export interface Turn {
  /** Resolves when those before were sent, or will not be. */
  readonly before: Promise<void>;
  readonly onSent: () => void;
  /** False when one before it has ended the row: it would overtake that one. */
  readonly open: () => boolean;
  /** It comes again later, so none behind it may be sent now. */
  readonly endRow: () => void;
}

/** Keeps the order in which tasks are sent whose preparation takes longer for one than for another. */
export class Turns {
  private last = Promise.resolve();
  private count = 0;
  private end = Number.POSITIVE_INFINITY;

  /** The turn goes to the next one when this one was sent, or when it ends without. */
  async take<T>(act: (turn: Turn) => Promise<T>): Promise<T> {
    const before = this.last;
    const place = this.count++;
    let onSent!: () => void;
    this.last = new Promise((resolve) => {
      onSent = resolve;
    });
    try {
      return await act({
        before,
        onSent,
        open: () => place <= this.end,
        endRow: () => {
          this.end = Math.min(this.end, place);
        },
      });
    } finally {
      // One that is not sent at all must not let a later one pass those before it.
      void before.then(onSent);
    }
  }
}
