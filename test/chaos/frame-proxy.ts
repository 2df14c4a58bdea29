import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One frame of the NATS protocol, as it goes over the wire. */
export interface Frame {
  readonly verb: string;
  readonly subject: string;
  readonly reply: string;
  readonly body: Buffer;
}

/** Sees every frame before it goes on; `false` keeps it back. */
export type Inspector = (frame: Frame) => unknown;

const CRLF = Buffer.from('\r\n');
const WITH_BODY = new Set(['PUB', 'HPUB', 'MSG', 'HMSG']);

/** A TCP link to a nats-server that sees what is said, frame by frame. */
export class FrameProxy {
  private readonly sockets = new Set<Socket>();
  /** Looks at what the client says; may be changed at any time. */
  fromClient: Inspector | undefined;
  /** Told after a frame of the client has gone on. */
  afterClient: ((frame: Frame) => void) | undefined;
  /** Looks at what the server says. */
  fromServer: Inspector | undefined;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async open(target: string): Promise<FrameProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new FrameProxy(server, `nats://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('connection', (inner) => proxy.join(inner, Number(new URL(target).port)));
    return proxy;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private join(inner: Socket, port: number): void {
    const outer = connect(port, '127.0.0.1');
    for (const socket of [inner, outer]) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        inner.destroy();
        outer.destroy();
      });
    }
    inner.on(
      'data',
      reader(
        outer,
        (frame) => this.fromClient?.(frame),
        (frame) => this.afterClient?.(frame),
      ),
    );
    outer.on(
      'data',
      reader(inner, (frame) => this.fromServer?.(frame)),
    );
  }
}

/** Cuts what comes into frames and passes on those that the inspector lets through. */
function reader(to: Socket, look: Inspector, after?: (frame: Frame) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let size = frameSize(rest); size > 0; size = frameSize(rest)) {
      const raw = rest.subarray(0, size);
      rest = rest.subarray(size);
      const frame = parse(raw);
      if (look(frame) === false || to.destroyed) continue;
      to.write(raw);
      after?.(frame);
    }
  };
}

/** Bytes of the first frame, 0 when it is not all there. */
function frameSize(bytes: Buffer): number {
  const end = bytes.indexOf(CRLF);
  if (end < 0) return 0;
  const words = bytes.toString('latin1', 0, end).split(' ');
  const size = WITH_BODY.has(words[0]!) ? end + 2 + Number(words.at(-1)) + 2 : end + 2;
  return size <= bytes.length ? size : 0;
}

/** `PUB s [r] n`, `HPUB s [r] h n`, `MSG s id [r] n`, `HMSG s id [r] h n`. */
function parse(raw: Buffer): Frame {
  const end = raw.indexOf(CRLF);
  const [verb = '', subject = '', ...words] = raw.toString('latin1', 0, end).split(' ');
  if (!WITH_BODY.has(verb)) return { verb, subject: '', reply: '', body: raw.subarray(raw.length) };
  if (verb.endsWith('MSG')) words.shift();
  const sizes = verb.startsWith('H') ? 2 : 1;
  return { verb, subject, reply: words.length > sizes ? words[0]! : '', body: raw.subarray(end + 2, raw.length - 2) };
}
