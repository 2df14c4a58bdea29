import { Frame } from './frame.js';
import { type TextBuffer, textBuffer } from './wire-message.js';

/** nats-core's parser (parser.js). In state 0 it stands between two commands. */
export interface Parser {
  state: number;
  parse(bytes: Uint8Array): void;
}

const BETWEEN_COMMANDS = 0;
const LF = 10;
const CR = 13;
const SPACE = 32;
const ZERO = 48;
const H = 72;
const M = 77;
/** Longest command line; the server's own limit is 4 KB. */
const LONGEST_LINE = 64 * 1024;

/** Cuts the bytes of one link into messages and other commands. */
export class Reader {
  private readonly frame = new Frame();
  private readonly rest = new Rest();
  private readonly line = new CommandLine();
  /** The client reads all: a command line was not as we know them. */
  private handedOver = false;

  /** @param parser gets everything that is no message, one whole command at a time */
  constructor(
    private readonly parser: Parser,
    private readonly deliver: (sid: number, frame: Frame) => void,
  ) {}

  read(bytes: Uint8Array): void {
    if (this.handedOver || this.parser.state !== BETWEEN_COMMANDS) return this.parser.parse(bytes);
    const buffer = this.rest.join(bytes);
    if (buffer === undefined) return;
    let at = 0;
    while (at < buffer.length) {
      const next = this.take(buffer, at);
      if (next < 0) break;
      at = next;
    }
    if (this.handedOver) this.parser.parse(buffer.subarray(at));
    else if (at < buffer.length) this.rest.keep(buffer.subarray(at), this.line.end > 0 ? this.line.frameEnd - at : 0);
  }

  /** Takes one command. @returns where the next one begins, or -1 when this one is not here in full */
  private take(buffer: TextBuffer, at: number): number {
    const { line } = this;
    line.find(buffer, at);
    if (line.end === 0) {
      this.handedOver = buffer.length - at > LONGEST_LINE;
      return -1;
    }
    const verb = buffer[at];
    if (verb !== M && verb !== H) {
      this.parser.parse(buffer.subarray(at, line.end));
      return line.end;
    }
    if (!line.readMessage(buffer, at, verb === H)) {
      this.handedOver = true;
      return -1;
    }
    if (line.frameEnd > buffer.length) return -1;
    this.point(buffer);
    this.deliver(line.sid, this.frame);
    return line.frameEnd;
  }

  private point(buffer: TextBuffer): void {
    const { frame, line } = this;
    frame.buffer = buffer;
    frame.subjectAt = line.subjectAt;
    frame.subjectEnd = line.subjectEnd;
    frame.replyAt = line.replyAt;
    frame.replyEnd = line.replyEnd;
    frame.headersAt = line.end;
    frame.bodyAt = line.end + line.headerSize;
    frame.end = line.end + line.size;
  }
}

/** A command line: `MSG <subject> <sid> [reply] <size>` or `HMSG <subject> <sid> [reply] <header size> <size>`, or any other. */
class CommandLine {
  /** Behind the line feed; 0 when there is none yet. */
  end = 0;
  /** Behind the message; `end` for any other command. */
  frameEnd = 0;
  subjectAt = 0;
  subjectEnd = 0;
  sid = 0;
  replyAt = 0;
  replyEnd = 0;
  headerSize = 0;
  size = 0;
  /** Places of the first blanks. */
  private readonly blanks = [0, 0, 0, 0, 0, 0];
  private count = 0;

  find(buffer: Uint8Array, at: number): void {
    this.end = 0;
    this.count = 0;
    for (let i = at; i < buffer.length; i++) {
      const byte = buffer[i]!;
      if (byte > SPACE) continue;
      if (byte === LF) {
        this.end = i + 1;
        this.frameEnd = this.end;
        return;
      }
      if (byte === SPACE && this.count < 6) this.blanks[this.count++] = i;
    }
  }

  /** @returns false when it is not as the server writes it */
  readMessage(buffer: Uint8Array, at: number, withHeaders: boolean): boolean {
    const { blanks, count, end } = this;
    const tokens = withHeaders ? 4 : 3;
    if (blanks[0] !== at + (withHeaders ? 4 : 3) || buffer[end - 2] !== CR || (count !== tokens && count !== tokens + 1)) return false;
    const lineEnd = end - 2;
    this.subjectAt = blanks[0] + 1;
    this.subjectEnd = blanks[1]!;
    this.sid = wholeNumber(buffer, blanks[1]! + 1, blanks[2]!);
    const replies = count > tokens;
    this.replyAt = replies ? blanks[2]! + 1 : 0;
    this.replyEnd = replies ? blanks[3]! : 0;
    const last = blanks[count - 1]!;
    this.headerSize = withHeaders ? wholeNumber(buffer, blanks[count - 2]! + 1, last) : 0;
    this.size = wholeNumber(buffer, last + 1, lineEnd);
    // Behind the payload stands another line end.
    this.frameEnd = end + this.size + 2;
    return this.sid >= 0 && this.headerSize >= 0 && this.size >= this.headerSize;
  }
}

/** What is left of a read: the beginning of a command whose end is still to come. */
class Rest {
  private parts: Uint8Array[] = [];
  private bytes = 0;
  /** Bytes of the whole command, or 0 when not even that is known. */
  private wanted = 0;

  /** @returns all that is to be read, or undefined when the command is still not here in full: a large one is copied once, not at every read */
  join(bytes: Uint8Array): TextBuffer | undefined {
    if (this.bytes === 0) return textBuffer(bytes);
    this.parts.push(bytes);
    this.bytes += bytes.length;
    if (this.bytes < this.wanted) return undefined;
    const joined = Buffer.concat(this.parts, this.bytes);
    this.parts = [];
    this.bytes = 0;
    return joined as TextBuffer;
  }

  keep(bytes: Uint8Array, wanted: number): void {
    this.parts = [bytes];
    this.bytes = bytes.length;
    this.wanted = wanted;
  }
}

/** -1 for anything but digits. */
function wholeNumber(buffer: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = buffer[i]! - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return to > from ? value : -1;
}
