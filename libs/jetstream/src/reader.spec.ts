import { Kind, Parser } from '@nats-io/nats-core/internal';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Reader } from './reader.js';

/** What came out of the bytes, one line per command. */
type Seen = string[];

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');

/** The client's own parser: what it says is right. */
function clientParser(seen: Seen): Parser {
  return new Parser({
    push({ kind, msg, data }) {
      if (kind !== Kind.MSG) return void seen.push(`${kind} ${hex(data)}`);
      const { subject, reply, sid, hdr } = msg!;
      seen.push(`message ${hex(subject)} ${sid} ${hex(reply)} ${Math.max(0, hdr)} ${hex(data)}`);
    },
  });
}

function ourReader(seen: Seen): Reader {
  return new Reader(clientParser(seen) as never, (sid, { buffer, ...at }) => {
    const part = (from: number, to: number) => hex(buffer.subarray(from, to));
    const [subject, reply] = [part(at.subjectAt, at.subjectEnd), part(at.replyAt, at.replyEnd)];
    seen.push(`message ${subject} ${sid} ${reply} ${at.bodyAt - at.headersAt} ${part(at.headersAt, at.end)}`);
  });
}

const subject = fc.stringMatching(/^[a-zA-Z0-9$_äé-]{1,12}(\.[a-zA-Z0-9$_äé-]{1,12}){0,3}$/);
const body = fc.uint8Array({ maxLength: 300 });
const reply = fc.option(subject, { nil: undefined });

const message = fc.tuple(subject, fc.integer({ min: 1, max: 99_999 }), reply, body).map(([to, sid, back, data]) => {
  const line = `MSG ${to} ${sid} ${back ? `${back} ` : ''}${data.length}\r\n`;
  return Buffer.concat([Buffer.from(line), data, Buffer.from('\r\n')]);
});

const messageWithHeaders = fc.tuple(subject, fc.integer({ min: 1, max: 99_999 }), reply, body, body).map(([to, sid, back, head, data]) => {
  const line = `HMSG ${to} ${sid} ${back ? `${back} ` : ''}${head.length} ${head.length + data.length}\r\n`;
  return Buffer.concat([Buffer.from(line), head, data, Buffer.from('\r\n')]);
});

const other = fc.constantFrom('PING\r\n', 'PONG\r\n', '+OK\r\n', "-ERR 'Permissions Violation'\r\n", 'INFO {"server_id":"x","port":1}\r\n');

/** Commands, and the places where the reads from the socket end. */
const stream = fc.tuple(
  fc.array(
    fc.oneof(
      message,
      messageWithHeaders,
      other.map((text) => Buffer.from(text)),
    ),
    { maxLength: 30 },
  ),
  fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 }),
);

function chunks(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}

describe('Reader', () => {
  it("reads what the client's parser reads, wherever the reads from the socket end", () => {
    fc.assert(
      fc.property(stream, ([commands, cuts]) => {
        const [expected, seen]: [Seen, Seen] = [[], []];
        const bytes = Buffer.concat(commands);
        clientParser(expected).parse(bytes);
        const reader = ourReader(seen);
        for (const chunk of chunks(bytes, cuts)) reader.read(chunk);
        expect(seen).toEqual(expected);
        expect(seen.length).toBe(commands.length);
      }),
      { numRuns: 300 },
    );
  });

  it('reads byte by byte', () => {
    const [expected, seen]: [Seen, Seen] = [[], []];
    const bytes = Buffer.from('PING\r\nHMSG a.b 7 r.1 12 14\r\nNATS/1.0\r\n\r\nok\r\nMSG c 8 0\r\n\r\n+OK\r\n');
    clientParser(expected).parse(bytes);
    const reader = ourReader(seen);
    for (let i = 0; i < bytes.length; i++) reader.read(bytes.subarray(i, i + 1));
    expect(seen).toEqual(expected);
    expect(seen).toHaveLength(4);
  });

  it('copies a message of many reads once', () => {
    const seen: Seen = [];
    const data = Buffer.alloc(8 * 1024 * 1024, 'x');
    const bytes = Buffer.concat([Buffer.from(`MSG big 3 ${data.length}\r\n`), data, Buffer.from('\r\nPING\r\n')]);
    const reader = ourReader(seen);
    for (let at = 0; at < bytes.length; at += 1024) reader.read(bytes.subarray(at, at + 1024));
    expect(seen).toHaveLength(2);
    expect(seen[0]!.length).toBeGreaterThan(2 * data.length);
  });

  it('gives the client all that follows when a command line is not as the server writes them', () => {
    const [expected, seen]: [Seen, Seen] = [[], []];
    const bytes = Buffer.from('PING\r\nMSG  a\t7 2\r\nok\r\nMSG b 8 2\r\nno\r\n');
    clientParser(expected).parse(bytes);
    ourReader(seen).read(bytes);
    expect(seen).toEqual(expected);
    expect(seen).toHaveLength(3);
  });
});
