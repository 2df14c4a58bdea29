import { connect, type Socket } from 'node:net';

/** Called with the status of each answer and how long it took in milliseconds; true to send the next request. */
export type OnAnswer = (status: number, millis: number) => boolean;

/**
 * One keep-alive connection that sends one prepared request, waits for its answer, and sends it again. It speaks to the socket
 * directly and reads no more of an answer than status and length, so that the generator leaves the machine to the server under test:
 * an HTTP library here costs as much as the server itself.
 */
export class LoadConnection {
  readonly closed: Promise<void>;
  private readonly socket: Socket;
  private pending = '';
  private sentAt = 0;

  constructor(
    port: number,
    private readonly request: Buffer,
    private readonly onAnswer: OnAnswer,
  ) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.closed = new Promise((resolve, reject) => {
      this.socket.once('close', () => resolve());
      this.socket.once('error', reject);
      this.socket.once('end', () => reject(new Error('the server closed a connection under load')));
    });
    this.socket.once('connect', () => this.send());
    this.socket.on('data', (chunk) => this.receive(chunk));
  }

  private send(): void {
    this.sentAt = performance.now();
    this.socket.write(this.request);
  }

  private receive(chunk: Buffer): void {
    this.pending = this.pending === '' ? chunk.toString('latin1') : this.pending + chunk.toString('latin1');
    const headEnd = this.pending.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const length = contentLength(this.pending, headEnd);
    if (this.pending.length < headEnd + 4 + length) return;
    const status = Number(this.pending.slice(9, 12));
    this.pending = '';
    if (this.onAnswer(status, performance.now() - this.sentAt)) this.send();
    // A reset leaves no port waiting: new connections by the thousand would run out of them.
    else this.socket.resetAndDestroy();
  }
}

function contentLength(answer: string, headEnd: number): number {
  const match = /\r\ncontent-length: *(\d+)/i.exec(answer.slice(0, headEnd + 2));
  if (match === null) throw new Error(`an answer without a content-length: ${answer.slice(0, headEnd)}`);
  return Number(match[1]);
}
