import type { Connection, ConnectOptions } from '@jetlane/jetstream';
import { JetlaneError } from '@jetlane/protocol';
import { assertKnown } from './check-options.js';
import type { JetlaneOptions } from './options.js';

const LABEL = 'JetlaneModule.forRoot';

const LINK = {
  servers: true,
  name: true,
  namespace: true,
  replicas: true,
  topology: true,
  user: true,
  password: true,
  token: true,
  credsFile: true,
  nkeySeedFile: true,
  inboxPrefix: true,
  tls: true,
  waitOnFirstConnect: true,
  onWaiting: true,
  pingIntervalMs: true,
  publishWindow: true,
  publishTimeoutMs: true,
} as const satisfies Record<keyof ConnectOptions, true>;
const OWN = { connection: true, role: true, shutdownTimeout: true, asyncContext: true, scheduler: true } as const;
const FIELDS = Object.keys({ ...LINK, ...OWN } satisfies Record<keyof JetlaneOptions, true>);

/**
 * A slip in a name would lead to the default server, which is waited for without end.
 * @throws JetlaneError `invalid-configuration` for options that are none, a field that does not exist, and a connection that is not one
 */
export function checkJetlaneOptions(options: JetlaneOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw wrong(`expected the factory of ${LABEL}Async to return options, such as { servers }; got ${String(options)}`, 'options');
  }
  assertKnown(options, FIELDS, LABEL);
  assertConnection(options.connection, LABEL);
}

/** Checks how a transport is linked: every option exists, and a given connection is one. @param own names of its own options */
export function checkLink(options: Pick<JetlaneOptions, 'connection'>, own: Readonly<Record<string, true>>, label: string): void {
  assertKnown(options, Object.keys({ ...LINK, connection: true, ...own }), label);
  assertConnection(options.connection, label);
}

function assertConnection(connection: Connection | undefined, label: string): void {
  if (connection === undefined || typeof connection.puller === 'function') return;
  throw wrong(
    `${label}: expected connection to be an open Connection of @jetlane/jetstream; to have one opened, give servers instead`,
    'connection',
  );
}

const wrong = (message: string, field: string): JetlaneError => new JetlaneError('invalid-configuration', message, { details: { field } });
