import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Where a link breaks: just before a message to a subject is passed on, or just after, before any answer comes back. */
export interface Cut {
  readonly when: 'before' | 'after';
  readonly subject: RegExp;
  /** The how manieth match. Default 1. */
  readonly nth?: number;
}

/**
 * A link to NATS that breaks for good at a chosen message of the client. To the server that looks like a SIGKILL at that
 * very step: all that was sent before has arrived, nothing after it, and no answer was heard.
 */
export class CuttingProxy {
  /** Resolves when the link has been cut. */
  readonly done: Promise<void>;
  private readonly sockets = new Set<Socket>();
  private dead = false;
  private matches = 0;
  private tell: () => void = () => undefined;

  private constructor(
    private readonly server: Server,
    private readonly cut: Cut,
    readonly url: string,
  ) {
    this.done = new Promise((resolve) => {
      this.tell = resolve;
    });
  }

  static async open(targetUrl: string, cut: Cut): Promise<CuttingProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new CuttingProxy(server, cut, `nats://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('connection', (inner) => proxy.join(inner, new URL(targetUrl)));
    return proxy;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private join(inner: Socket, target: URL): void {
    if (this.dead) return void inner.destroy();
    const outer = connect(Number(target.port), target.hostname);
    const frames = new Frames();
    for (const socket of [inner, outer]) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        inner.destroy();
      });
    }
    inner.on('close', () => void (this.dead || outer.destroy()));
    outer.on('data', (bytes) => void (this.dead || inner.write(bytes)));
    inner.on('data', (bytes) => {
      for (const frame of frames.push(bytes)) if (!this.dead) this.pass(frame, inner, outer);
    });
  }

  private pass({ subject, bytes }: Frame, inner: Socket, outer: Socket): void {
    if (!subject || !this.cut.subject.test(subject) || ++this.matches < (this.cut.nth ?? 1)) return void outer.write(bytes);
    this.dead = true;
    inner.destroy();
    // `end` and not `destroy`: what was passed on arrives.
    if (this.cut.when === 'after') outer.end(bytes, () => this.tell());
    else outer.end(() => this.tell());
  }
}

interface Frame {
  readonly subject: string | undefined;
  readonly bytes: Buffer;
}

/** Cuts the bytes of a NATS client into its commands. */
class Frames {
  private rest = Buffer.alloc(0);

  push(bytes: Buffer): Frame[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    const frames: Frame[] = [];
    for (;;) {
      const end = this.rest.indexOf('\r\n');
      if (end < 0) return frames;
      const words = this.rest.toString('latin1', 0, end).split(/\s+/);
      const publishes = /^H?PUB$/i.test(words[0] ?? '');
      const length = end + 2 + (publishes ? Number(words.at(-1)) + 2 : 0);
      if (this.rest.length < length) return frames;
      frames.push({ subject: publishes ? words[1] : undefined, bytes: this.rest.subarray(0, length) });
      this.rest = this.rest.subarray(length);
    }
  }
}
