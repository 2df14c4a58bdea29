import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Frame, FrameReader } from './nats-frames.js';

export type { Frame } from './nats-frames.js';

/** Sees every frame before it goes on; `false` keeps it back. */
export type Inspector = (frame: Frame) => unknown;

/** Where a link breaks: just before a message to a subject is passed on, or just after, before any answer comes back. */
export interface Cut {
  readonly when: 'before' | 'after';
  readonly subject: RegExp;
  /** The how manieth match. Default 1. */
  readonly nth?: number;
}

interface Pair {
  readonly inner: Socket;
  readonly outer: Socket;
  readonly toServer: Way;
  readonly toClient: Way;
}

/**
 * A TCP link to a nats-server that a test can watch and break. `cut` closes what is open, as a pulled cable with a reset; `freeze` keeps
 * sockets open and passes nothing on, as a half-open link; what comes after either is served again. `cutAt` breaks it for good at a
 * message; `trickle` makes it slow; inspectors see what is said, frame by frame.
 */
export class LinkProxy {
  /** Looks at what the client says; may be changed at any time. */
  fromClient: Inspector | undefined;
  /** Told after a frame of the client has gone on. */
  afterClient: ((frame: Frame) => void) | undefined;
  /** Looks at what the server says. */
  fromServer: Inspector | undefined;
  private readonly pairs = new Set<Pair>();
  private dead = false;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  /** @param target URL of the server */
  static async open(target: string): Promise<LinkProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new LinkProxy(server, `nats://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('connection', (inner) => proxy.join(inner, Number(new URL(target).port)));
    return proxy;
  }

  cut(): void {
    for (const { inner, outer } of this.pairs) for (const socket of [inner, outer]) socket.destroy();
    this.pairs.clear();
  }

  /** Nothing passes, and nobody is told. @param way default: both. @returns the way to let it pass again */
  freeze(way: 'to server' | 'both' = 'both'): () => void {
    const ways = [...this.pairs].flatMap(({ toServer, toClient }) => (way === 'both' ? [toServer, toClient] : [toServer]));
    for (const frozen of ways) frozen.hold();
    return () => ways.forEach((frozen) => void frozen.release());
  }

  /** From now on the server's bytes pass at this pace, in portions of a tenth of a second. Returns the way to end that. */
  trickle(bytesPerSecond: number): () => void {
    const ways = [...this.pairs].map(({ toClient }) => toClient);
    for (const way of ways) way.hold();
    const timer = setInterval(() => ways.forEach((way) => void way.portion(bytesPerSecond / 10)), 100);
    return () => {
      clearInterval(timer);
      for (const way of ways) way.release();
    };
  }

  /**
   * Breaks the link for good at a chosen message of the client. To the server that looks like a SIGKILL at that very step: all that was
   * sent before has arrived, nothing after it, and no answer was heard. Resolves when it is cut.
   */
  cutAt({ when, subject, nth = 1 }: Cut): Promise<void> {
    let matches = 0;
    return new Promise((resolve) => {
      this.fromClient = (frame) => {
        if (this.dead) return false;
        if (!/^H?PUB$/.test(frame.verb) || !subject.test(frame.subject) || ++matches < nth) return true;
        this.dead = true;
        for (const pair of this.pairs) {
          pair.inner.destroy();
          pair.toServer.flush();
          // `end` and not `destroy`: what was passed on arrives.
          pair.outer.end(when === 'after' ? frame.raw : Buffer.alloc(0), () => resolve());
        }
        return false;
      };
      this.fromServer = () => !this.dead;
    });
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  private join(inner: Socket, port: number): void {
    if (this.dead) return void inner.destroy();
    const outer = connect(port, '127.0.0.1');
    const toServer = new Way(inner, outer, () => ({ look: this.fromClient, after: this.afterClient }));
    const toClient = new Way(outer, inner, () => ({ look: this.fromServer }));
    const pair = { inner, outer, toServer, toClient };
    this.pairs.add(pair);
    for (const socket of [inner, outer]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.pairs.delete(pair);
        inner.destroy();
        if (!this.dead) outer.destroy();
      });
    }
  }
}

interface Looks {
  readonly look: Inspector | undefined;
  readonly after?: ((frame: Frame) => void) | undefined;
}

/** One direction of a link. */
class Way {
  private readonly frames = new FrameReader();
  private passed: Buffer[] = [];
  private held = false;
  /** Bytes of the incomplete frame that have passed: while nobody looks, bytes pass as they come. */
  private begun = 0;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly looks: () => Looks,
  ) {
    from.on('data', (chunk) => this.pass(chunk));
    to.on('drain', () => void (this.held || from.resume()));
  }

  /** What comes stays with the system: the sender notices when its buffers are full. */
  hold(): void {
    this.held = true;
    this.from.pause();
  }

  release(): void {
    this.held = false;
    this.from.resume();
  }

  /** Lets some bytes pass, though the way is held. */
  portion(bytes: number): void {
    this.from.read(Math.min(this.from.readableLength, bytes));
  }

  /** Writes what has passed. */
  flush(): void {
    const { passed, to } = this;
    this.passed = [];
    if (passed.length > 0 && !to.destroyed && !to.write(Buffer.concat(passed))) this.from.pause();
  }

  private pass(chunk: Buffer): void {
    const { look, after } = this.looks();
    if (!look && !after) return this.passUnseen(chunk);
    for (const frame of this.frames.push(chunk)) {
      const { begun } = this;
      this.begun = 0;
      if (look?.(frame) === false && begun === 0) continue;
      this.passed.push(frame.raw.subarray(begun));
      if (!after) continue;
      this.flush();
      after(frame);
    }
    this.flush();
  }

  private passUnseen(chunk: Buffer): void {
    const { frames } = this;
    // What an inspector has let wait for the rest of its frame goes first.
    const waiting = frames.incomplete - this.begun;
    if (waiting > 0) this.passed.push(frames.tail(waiting));
    this.passed.push(chunk);
    for (const _ of frames.push(chunk));
    this.begun = frames.incomplete;
    this.flush();
  }
}
