import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Tells the audit; what is told within one turn of the event loop goes together. */
export class AuditClient {
  private readonly waiting: (() => void)[] = [];
  private head = 0;
  private text = '';

  private constructor(private readonly socket: Socket) {
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) this.durable(Number(line));
    });
  }

  static async open(path: string): Promise<AuditClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new AuditClient(socket);
  }

  /** Resolves when the line is on the disk. */
  tell(line: string): Promise<void> {
    if (this.text === '') setImmediate(() => this.flush());
    this.text += `${line}\n`;
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private flush(): void {
    this.socket.write(this.text);
    this.text = '';
  }

  private durable(count: number): void {
    for (let i = 0; i < count; i++) this.waiting[this.head++]!();
    if (this.head === this.waiting.length) {
      this.waiting.length = 0;
      this.head = 0;
    }
  }
}
