import { FatalError, HEADER, type HeaderPair, headerValue, JetlaneError } from '@jetlane/protocol';

const JSON_TYPE = /^(?:application\/json|[^;\s]+\+json)\s*(?:;|$)/i;

/** JSON, unless the content type says otherwise; then bytes. @throws FatalError `undecodable-payload` */
export function readData(headers: readonly HeaderPair[], data: Uint8Array): unknown {
  const contentType = headerValue(headers, HEADER.contentType);
  if (contentType && !JSON_TYPE.test(contentType)) return new Uint8Array(data);
  if (data.length === 0) return undefined;
  try {
    return JSON.parse(Buffer.from(data).toString()) as unknown;
  } catch (cause) {
    throw new FatalError('the payload is not valid JSON; set Content-Type if it is something else', { code: 'undecodable-payload', cause });
  }
}

/** Likewise for a request, whose sender hears of it. @throws JetlaneError `invalid-json` */
export function readRequest(headers: readonly HeaderPair[], data: Uint8Array): unknown {
  try {
    return readData(headers, data);
  } catch (cause) {
    throw new JetlaneError('invalid-json', 'the body of a request must be JSON, unless Content-Type says otherwise', { cause });
  }
}
