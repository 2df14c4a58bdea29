/** One frame of the NATS protocol, as it goes over the wire. */
export interface Frame {
  readonly verb: string;
  readonly subject: string;
  readonly reply: string;
  readonly body: Buffer;
  readonly raw: Buffer;
}

const CRLF = Buffer.from('\r\n');
const WITH_BODY = new Set(['PUB', 'HPUB', 'MSG', 'HMSG']);

/** Cuts one direction of a link into frames. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  /** Bytes of the frame that is not complete yet. */
  get incomplete(): number {
    return this.rest.length;
  }

  /** The last bytes of it. */
  tail(bytes: number): Buffer {
    return this.rest.subarray(this.rest.length - bytes);
  }

  /** The frames that are complete with these bytes. */
  *push(chunk: Buffer): Generator<Frame> {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    for (let size = frameSize(this.rest); size > 0; size = frameSize(this.rest)) {
      const raw = this.rest.subarray(0, size);
      this.rest = this.rest.subarray(size);
      yield parse(raw);
    }
  }
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
  if (!WITH_BODY.has(verb)) return { verb, subject: '', reply: '', body: raw.subarray(raw.length), raw };
  if (verb.endsWith('MSG')) words.shift();
  const sizes = verb.startsWith('H') ? 2 : 1;
  return { verb, subject, reply: words.length > sizes ? words[0]! : '', body: raw.subarray(end + 2, raw.length - 2), raw };
}
