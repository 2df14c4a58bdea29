import { connect, type Socket } from 'node:net';

/** What came back: status 0 when the connection ended without an answer. */
export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

const TIMEOUT_MS = 30_000;
const NO_BODY = new Set([204, 304]);

/**
 * One connection that sends bytes as they are, however wrong, and reads one answer to each request. It is opened again when the
 * server has closed it; an answer that never ends (a stream of events) is left after its head.
 */
export class RawClient {
  private socket: Socket | undefined;

  constructor(private readonly port: number) {}

  send(request: Buffer): Promise<RawAnswer> {
    const socket = this.open();
    return new Promise((resolve) => {
      let text = '';
      const onData = (chunk: Buffer): void => {
        text += chunk.toString('latin1');
        const found = read(text);
        if (found?.complete) done(found.answer, found.keep);
      };
      const onClose = (): void => done(read(text)?.answer ?? { status: 0, head: text, body: '' }, false);
      const onTimeout = (): void => done({ status: -1, head: 'timeout', body: text }, false);
      const done = (answer: RawAnswer, keep: boolean): void => {
        socket.off('data', onData).off('close', onClose).off('timeout', onTimeout);
        if (!keep) this.close();
        resolve(answer);
      };
      socket.setTimeout(TIMEOUT_MS).on('data', onData).on('close', onClose).on('timeout', onTimeout);
      socket.write(request);
    });
  }

  close(): void {
    this.socket?.destroy();
    this.socket = undefined;
  }

  private open(): Socket {
    if (!this.socket || this.socket.destroyed || !this.socket.writable) {
      this.socket = connect({ port: this.port, host: '127.0.0.1' });
      this.socket.on('error', () => undefined);
    }
    return this.socket;
  }
}

function read(text: string): { answer: RawAnswer; complete: boolean; keep: boolean } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const status = Number(head.slice(9, 12));
  // 100 Continue: the answer proper follows.
  if (status === 100) return read(text.slice(end + 4));
  const body = text.slice(end + 4);
  const answer = { status, head, body };
  const lower = head.toLowerCase();
  if (lower.includes('content-type: text/event-stream')) return { answer, complete: true, keep: false };
  const keep = !lower.includes('connection: close');
  const length = /\r\ncontent-length: *(\d+)/.exec(lower)?.[1];
  if (NO_BODY.has(status)) return { answer, complete: true, keep };
  if (length !== undefined) return { answer, complete: body.length >= Number(length), keep };
  return { answer, complete: body.endsWith('0\r\n\r\n'), keep };
}
