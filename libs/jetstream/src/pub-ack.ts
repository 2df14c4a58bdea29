import type { Frame } from './frame.js';
import type { PubAck } from './publication.js';
import type { ApiError } from './publish-errors.js';

/** What JetStream answers to a publish. */
export interface ApiAnswer extends PubAck {
  readonly error?: ApiError;
}

const DIGIT_0 = 48;
const DIGIT_9 = 57;
const SEQ = '"seq":';

/**
 * The sequence in a PubAck of the usual form, `{"stream":"tasks_default_high", "seq":12}`, read from its end without a text
 * being made; 0 for anything else (an error, a domain, a duplicate), which goes through a JSON parser.
 */
export function plainSequence({ buffer, bodyAt, end }: Frame): number {
  let at = end - 1;
  // `{"s…`: an error begins `{"e` or `{"t`.
  if (at < bodyAt + 20 || buffer[at] !== 125 || buffer[bodyAt + 2] !== 115) return 0;
  let value = 0;
  for (let scale = 1; buffer[--at]! >= DIGIT_0 && buffer[at]! <= DIGIT_9; scale *= 10) value += (buffer[at]! - DIGIT_0) * scale;
  if (buffer[at] === 32) at--;
  for (let i = SEQ.length - 1; i >= 0; i--, at--) if (buffer[at] !== SEQ.charCodeAt(i)) return 0;
  return value;
}

/** Any answer of the JetStream API; `undefined` when it is none. */
export function parseAnswer(text: string): ApiAnswer | undefined {
  try {
    return JSON.parse(text) as ApiAnswer;
  } catch {
    return undefined;
  }
}
