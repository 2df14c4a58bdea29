import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A message as it came over the wire: `MSG` or `HMSG`. */
export interface Frame {
  readonly subject: string;
  /** The header block, status line included; empty without one. */
  readonly headers: string;
  readonly body: string;
}

const PATIENCE_MS = 30_000;

/** The NATS protocol on a TCP socket, in as few words as it takes: no client library, nothing of Jetlane. */
export class PlainSocket {
  private rest = Buffer.alloc(0);
  private readonly waiting = new Map<string, (frame: Frame) => void>();
  private count = 0;
  readonly errors: string[] = [];

  private constructor(private readonly socket: Socket) {
    socket.on('data', (bytes) => {
      this.rest = Buffer.concat([this.rest, bytes]);
      while (this.read());
    });
  }

  static async open(port: number): Promise<PlainSocket> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const plain = new PlainSocket(socket);
    socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true,"lang":"none","version":"0"}\r\nSUB _INBOX.plain.* own\r\n');
    return plain;
  }

  /** Sends what a person would type. */
  type(lines: string): void {
    this.socket.write(lines.replaceAll('\n', '\r\n'));
  }

  /** A subject for one answer, and the answer. */
  expect(subject = `_INBOX.plain.${++this.count}`): { subject: string; frame: Promise<Frame> } {
    return {
      subject,
      frame: new Promise((resolve, reject) => {
        this.waiting.set(subject, resolve);
        setTimeout(() => reject(new Error(`nothing came on ${subject}`)), PATIENCE_MS).unref();
      }),
    };
  }

  /** Publishes with a reply subject and resolves with the answer. */
  ask(subject: string, body: string, headers: readonly (readonly [string, string])[] = []): Promise<Frame> {
    const { subject: reply, frame } = this.expect();
    const block = `NATS/1.0\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
    const [head, total] = [Buffer.byteLength(block), Buffer.byteLength(block) + Buffer.byteLength(body)];
    this.socket.write(
      headers.length > 0
        ? `HPUB ${subject} ${reply} ${head} ${total}\r\n${block}${body}\r\n`
        : `PUB ${subject} ${reply} ${Buffer.byteLength(body)}\r\n${body}\r\n`,
    );
    return frame;
  }

  close(): void {
    this.socket.destroy();
  }

  /** Takes one command off the buffer. @returns false when it is not there as a whole */
  private read(): boolean {
    const end = this.rest.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.rest.toString('latin1', 0, end);
    const words = line.split(' ');
    const carries = words[0] === 'MSG' || words[0] === 'HMSG';
    const total = carries ? Number(words.at(-1)) : 0;
    const length = end + 2 + (carries ? total + 2 : 0);
    if (this.rest.length < length) return false;
    const payload = this.rest.subarray(end + 2, end + 2 + total);
    this.rest = this.rest.subarray(length);
    if (words[0] === 'PING') this.socket.write('PONG\r\n');
    else if (words[0] === '-ERR') this.errors.push(line);
    else if (carries) this.deliver(words, payload);
    return true;
  }

  private deliver(words: readonly string[], payload: Buffer): void {
    const subject = words[1]!;
    const head = words[0] === 'HMSG' ? Number(words.at(-2)) : 0;
    this.waiting.get(subject)?.({ subject, headers: payload.toString('utf8', 0, head), body: payload.toString('utf8', head) });
    this.waiting.delete(subject);
  }
}
