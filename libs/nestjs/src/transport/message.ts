import { decodeHeaders, FatalError, HEADER, type HeaderPair, headerValue, JetlaneError } from '@jetlane/protocol';

/** A message with its data read. */
export interface ReadMessage {
  readonly headers: readonly HeaderPair[];
  readonly data: unknown;
}

const JSON_TYPE = /^(?:application\/json|[^;\s]+\+json)\s*(?:;|$)/i;

/** JSON, unless the content type says otherwise; then bytes. @throws FatalError `undecodable-payload` */
export function readMessage(message: { readonly headers: string; readonly data: Uint8Array }): ReadMessage {
  const headers = message.headers ? decodeHeaders(message.headers) : [];
  const contentType = headerValue(headers, HEADER.contentType);
  if (contentType && !JSON_TYPE.test(contentType)) return { headers, data: new Uint8Array(message.data) };
  if (message.data.length === 0) return { headers, data: undefined };
  try {
    return { headers, data: JSON.parse(Buffer.from(message.data).toString()) as unknown };
  } catch (cause) {
    throw new FatalError('the payload is not valid JSON; set Content-Type if it is something else', { code: 'undecodable-payload', cause });
  }
}

/** Likewise for a request, whose sender hears of it. @throws JetlaneError `invalid-json` */
export function readRequest(message: Parameters<typeof readMessage>[0]): ReadMessage {
  try {
    return readMessage(message);
  } catch (cause) {
    throw new JetlaneError('invalid-json', 'the body of a request must be JSON, unless Content-Type says otherwise', { cause });
  }
}
