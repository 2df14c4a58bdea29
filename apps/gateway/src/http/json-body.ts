import { isUtf8 } from 'node:buffer';
import { JetlaneError } from '@jetlane/protocol';
import secureJson from 'secure-json-parse';

/** Longest body of one task, in bytes. */
export const BODY_LIMIT = 1_048_576;

/** Keys that set a prototype where a careless reader copies them are refused, not dropped: a payload is never changed silently. */
const GUARD = { protoAction: 'error', constructorAction: 'error' } as const;

/**
 * Reads JSON from bytes.
 * @throws JetlaneError `invalid-json` for anything that is not JSON in UTF-8, or holds a `__proto__` or `constructor.prototype` key
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new JetlaneError('invalid-json', 'the body is empty; expected a JSON object');
  if (!isUtf8(body))
    throw new JetlaneError('invalid-json', 'the text is not valid UTF-8; send JSON in UTF-8, and bytes as base64 inside it');
  try {
    return secureJson.parse(body.toString('utf8'), null, GUARD) as unknown;
  } catch (error) {
    throw new JetlaneError('invalid-json', `the text is not valid JSON: ${(error as Error).message}`, { cause: error });
  }
}
