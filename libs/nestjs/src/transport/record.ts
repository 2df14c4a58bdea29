import { assertHeaderValue, HEADER, type HeaderPair } from '@jetlane/protocol';

/** What goes along with the data of an event or a request. */
export interface RecordOptions {
  /** Message id of an event: emitted again within two minutes it is stored once. Default: random. */
  readonly id?: string;
  /** Headers of the message, beside those of trace and content type. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Data with headers or an id of one's own; bytes travel as they are, as `application/octet-stream` unless a header says otherwise: `client.emit('orders.created', new JetStreamRecord(order, { id: order.id }))`. */
export class JetStreamRecord<T = unknown> {
  constructor(
    readonly data: T,
    readonly options: RecordOptions = {},
  ) {}
}

/** Takes a record apart; other data is sent without anything. @throws JetlaneError `invalid-headers` */
export function readRecord(given: unknown): { readonly data: unknown; readonly id: string | undefined; readonly headers: HeaderPair[] } {
  if (!(given instanceof JetStreamRecord)) return { data: given, id: undefined, headers: typeOf(given) };
  const { id, headers = {} } = given.options;
  for (const [name, value] of Object.entries(headers)) {
    assertHeaderValue(name, name);
    assertHeaderValue(name, value);
  }
  if (id !== undefined) assertHeaderValue('Nats-Msg-Id', id);
  // Nats-* headers are commands to the server.
  const own = Object.entries(headers).filter(([name]) => !/^nats-/i.test(name));
  return { data: given.data, id, headers: [...typeOf(given.data), ...own] };
}

/** Bytes are not JSON; a header of the caller's own comes behind this one and counts instead. */
const typeOf = (data: unknown): HeaderPair[] => (data instanceof Uint8Array ? [[HEADER.contentType, 'application/octet-stream']] : []);
