import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { PROBLEM_CONTENT_TYPE } from './problem.js';

interface ParserError extends Error {
  readonly code?: string;
}

/** Answers requests that the HTTP server refuses by itself (no route sees them) in the form of all other errors. */
export function answerClientErrors(server: Server): void {
  server.removeAllListeners('clientError');
  server.on('clientError', (error: ParserError, socket: Duplex) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return socket.destroy();
    const [status, reason, detail] = describe(error.code);
    const body = problemText(status, detail);
    const head = [
      `HTTP/1.1 ${status} ${reason}`,
      `Content-Type: ${PROBLEM_CONTENT_TYPE}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
      'X-Content-Type-Options: nosniff',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
    return socket;
  });
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const headers = { 'content-type': PROBLEM_CONTENT_TYPE, 'x-content-type-options': 'nosniff', connection: 'close' };
    response.writeHead(417, headers).end(problemText(417, 'the header Expect may only say 100-continue'));
  });
}

function problemText(status: number, detail: string): string {
  const title = 'The request does not fit its schema';
  const code = 'invalid-argument';
  return JSON.stringify({ type: `urn:jetlane:problem:${code}`, title, status, code, detail, retryable: false });
}

function describe(code: string | undefined): [status: number, reason: string, detail: string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'Request Header Fields Too Large', 'the headers are larger than 16 KiB'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'Request Timeout', 'the request was not complete in time'];
    default:
      return [400, 'Bad Request', 'the request is not valid HTTP/1.1'];
  }
}
