import type { Readable } from 'node:stream';
import { JetlaneError } from '@jetlane/protocol';
import type { Piece, Splitter } from './splitter.js';

/** A caller that sends nothing for this long, while we wait for it, is cut off. */
const IDLE_MS = 30_000;

/**
 * The texts of a body, chunk by chunk. Whatever ends the reading (the end, a broken stream, a caller who went away),
 * the iteration ends and `ending` tells: what was read before is not lost by it.
 */
export class ReadTexts implements AsyncIterable<Piece[]> {
  /** Set when the iteration is over. `aborted`: there is nobody left to answer. */
  ending: 'complete' | 'aborted' | JetlaneError | undefined;

  constructor(
    private readonly body: Readable,
    private readonly splitter: Splitter,
    private readonly idleMs: number = IDLE_MS,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece[]> {
    const watch = this.watchIdle();
    try {
      // Leaving a loop over the stream itself would destroy it, and the socket of the answer with it.
      for await (const chunk of this.body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        watch.pause();
        yield this.splitter.push(chunk);
        watch.resume();
      }
      yield this.splitter.end();
      this.ending ??= 'complete';
    } catch (error) {
      this.ending = error instanceof JetlaneError ? error : 'aborted';
    } finally {
      watch.stop();
      // What follows the place where a text could not be read is of no use; a caller that still sends it can go on.
      if (!this.body.destroyed) this.body.resume();
    }
  }

  /** Destroys the body when nothing comes for too long; not while it is us who do not read. */
  private watchIdle(): { pause(): void; resume(): void; stop(): void } {
    let since = performance.now();
    const check = () => {
      if (performance.now() - since > this.idleMs) this.body.destroy(new Error('idle'));
    };
    const timer = setInterval(check, Math.max(10, this.idleMs / 10));
    return {
      pause: () => {
        since = Number.POSITIVE_INFINITY;
      },
      resume: () => {
        since = performance.now();
      },
      stop: () => clearInterval(timer),
    };
  }
}
