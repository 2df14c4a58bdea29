import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A TCP link that a test can break. `cut` closes what is open, as a pulled cable with a reset; `freeze` keeps sockets open
 * and passes nothing on, as a half-open link; what comes after either is served again. `trickle` makes a link slow.
 */
export class TcpProxy {
  private readonly pairs = new Set<readonly [Socket, Socket]>();

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async open(targetPort: number): Promise<TcpProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new TcpProxy(server, (server.address() as AddressInfo).port);
    server.on('connection', (inner) => proxy.join(inner, targetPort));
    return proxy;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  cut(): void {
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
    this.pairs.clear();
  }

  /** Nothing passes in either direction, and nobody is told. */
  freeze(): void {
    for (const [inner, outer] of this.pairs) {
      inner.unpipe(outer).pause();
      outer.unpipe(inner).pause();
    }
  }

  /** From now on the server's bytes pass at this pace, in portions of a tenth of a second. Returns the way to end that. */
  trickle(bytesPerSecond: number): () => void {
    for (const [inner, outer] of this.pairs) outer.unpipe(inner);
    const timer = setInterval(() => {
      for (const [inner, outer] of this.pairs) {
        const portion = outer.read(Math.min(outer.readableLength, bytesPerSecond / 10)) as Buffer | null;
        if (portion) inner.write(portion);
      }
    }, 100);
    return () => {
      clearInterval(timer);
      for (const [inner, outer] of this.pairs) outer.pipe(inner);
    };
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  private join(inner: Socket, targetPort: number): void {
    const outer = connect(targetPort, '127.0.0.1');
    const pair = [inner, outer] as const;
    this.pairs.add(pair);
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.pairs.delete(pair);
        inner.destroy();
        outer.destroy();
      });
    }
    inner.pipe(outer);
    outer.pipe(inner);
  }
}
