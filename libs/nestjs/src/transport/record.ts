import { assertHeaderValue, type HeaderPair } from '@jetlane/protocol';

/** What goes along with the data of an event or a request. */
export interface RecordOptions {
  /** Message id of an event: emitted again within two minutes it is stored once. Default: random. */
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Data with headers or an id of one's own: `client.emit('orders.created', new JetStreamRecord(order, { id: order.id }))`. */
export class JetStreamRecord<T = unknown> {
  constructor(
    readonly data: T,
    readonly options: RecordOptions = {},
  ) {}
}

/** Takes a record apart; other data is sent without anything. @throws JetlaneError `invalid-headers` */
export function readRecord(given: unknown): { readonly data: unknown; readonly id: string | undefined; readonly headers: HeaderPair[] } {
  if (!(given instanceof JetStreamRecord)) return { data: given, id: undefined, headers: [] };
  const { id, headers = {} } = given.options;
  for (const [name, value] of Object.entries(headers)) {
    assertHeaderValue(name, name);
    assertHeaderValue(name, value);
  }
  if (id !== undefined) assertHeaderValue('Nats-Msg-Id', id);
  // Nats-* headers are commands to the server.
  return { data: given.data, id, headers: Object.entries(headers).filter(([name]) => !/^nats-/i.test(name)) };
}
