import { Readable } from 'node:stream';

/** Text gathered before the reader is asked to keep up, in characters. */
const HIGH_WATER = 65_536;
/** A caller that takes no answers for this long is cut off, ms. */
const STALLED_MS = 30_000;

/** NDJSON that is written line by line and read at the reader's pace. Many lines share a write. */
export class LineStream {
  readonly stream: Readable;
  private text = '';
  private reading = false;
  private scheduled = false;
  private wake: (() => void) | undefined;

  constructor(private readonly stalledMs: number = STALLED_MS) {
    this.stream = new Readable({
      highWaterMark: HIGH_WATER,
      read: () => {
        this.reading = true;
        this.schedule();
      },
      destroy: (error, done) => {
        this.wake?.();
        done(error);
      },
    });
  }

  write(value: unknown): void {
    if (this.stream.destroyed) return;
    this.text += `${JSON.stringify(value)}\n`;
    this.schedule();
  }

  /** Undefined, or a promise that resolves when the reader has caught up, or is gone. */
  ready(): Promise<void> | undefined {
    if (this.text.length < HIGH_WATER || this.stream.destroyed) return undefined;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.stream.destroy(), this.stalledMs);
      this.wake = () => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve();
      };
    });
  }

  end(last: unknown): void {
    if (this.stream.destroyed) return;
    this.stream.push(`${this.text}${JSON.stringify(last)}\n`);
    this.text = '';
    this.stream.push(null);
  }

  private schedule(): void {
    if (this.scheduled || !this.reading || this.text === '') return;
    this.scheduled = true;
    setImmediate(() => this.flush());
  }

  private flush(): void {
    this.scheduled = false;
    if (this.stream.destroyed || this.text === '') return;
    const { text } = this;
    this.text = '';
    this.reading = this.stream.push(text);
    this.wake?.();
  }
}
