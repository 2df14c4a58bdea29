import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { PROBLEM_CONTENT_TYPE } from './problem.js';

interface ParserError extends Error {
  readonly code?: string;
}

/** Answers requests that the HTTP parser refuses (no route sees them) in the form of all other errors. */
export function answerClientErrors(server: Server): void {
  server.removeAllListeners('clientError');
  server.on('clientError', (error: ParserError, socket: Duplex) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return socket.destroy();
    const [status, reason, detail] = describe(error.code);
    const title = 'The request does not fit its schema';
    const body = JSON.stringify({
      type: 'urn:jetlane:problem:invalid-argument',
      title,
      status,
      code: 'invalid-argument',
      detail,
      retryable: false,
    });
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
