import { readFileSync } from 'node:fs';
import { JetlaneError, type Topology } from '@jetlane/protocol';
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { credsAuthenticator, nkeyAuthenticator } from '@nats-io/transport-node';

/** How to reach the NATS server. Every field has a default. */
export interface ConnectOptions {
  /** Server URLs, as a list or separated by commas; `nats://user:password@host` and `nats://token@host` work too. Default `nats://127.0.0.1:4222`. */
  readonly servers?: string | readonly string[];
  /** Name shown in the server's connection list. Default `jetlane`. */
  readonly name?: string;
  /** Keeps several installations apart on one account. Default: none. */
  readonly namespace?: string;
  /**
   * How the installation lays out its queues: `lanes`, a stream for each lane, or `compact`, a stream for each queue. The same for all
   * processes of an installation; one that has another is refused (`wrong-topology`). Default `lanes`.
   */
  readonly topology?: Topology;
  /** Replicas of streams that this connection provisions: 1, 3 or 5. Default 1. */
  readonly replicas?: number;
  /** Name of a user, with `password`. Default: none, or the one in the URL. */
  readonly user?: string;
  /** Password of `user`. Default: none, or the one in the URL. */
  readonly password?: string;
  /** Token, where the server asks for one instead of a user. Default: none, or the one in the URL. */
  readonly token?: string;
  /** Path of a credentials file (JWT and NKey seed). */
  readonly credsFile?: string;
  /** Path of a file that holds an NKey seed. */
  readonly nkeySeedFile?: string;
  /** First tokens of the subjects on which answers come; the user must be allowed to listen on `<prefix>.>`. Default `_INBOX`. */
  readonly inboxPrefix?: string;
  /** TLS with these PEM files; `{}` for the certificates that Node.js trusts. Default: TLS if the server or the URL demands it. */
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  /** Wait for the first connection for ever instead of failing; wrong credentials fail at once all the same. Default true. */
  readonly waitOnFirstConnect?: boolean;
  /** Told of every failed try while the first connection is waited for. */
  readonly onWaiting?: (error: Error) => void;
  /**
   * Silence after which the server is asked for a sign of life, in ms. A link on which nothing is read for 3.5 times as long is
   * rebuilt. Default 1,000: a half-open link is found within 4 s.
   */
  readonly pingIntervalMs?: number;
  /** Unacknowledged publishes at a time. Default 4096. */
  readonly publishWindow?: number;
  /**
   * How long a publish may take, retries included, in ms. Default 10,000. What may be stored is not sent again more than 25 s after its
   * first sending, however long this is.
   */
  readonly publishTimeoutMs?: number;
}

const DEFAULT_SERVER = 'nats://127.0.0.1:4222';
const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 2000;
const QUIET_MS = 10_000;
/** A server that takes the connection and says nothing must not keep us from the others. */
const DIAL_TIMEOUT_MS = 4000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
export const DEFAULT_PING_INTERVAL_MS = 1000;
const SCHEMES: ReadonlySet<string> = new Set(['nats', 'tls', 'tcp']);
const URL_FORM = /^([a-z]+:\/\/)?(?:([^@/]*)@)?(.+)$/i;

/** Options of the NATS client: reconnect for ever, with exponential backoff and full jitter. @throws JetlaneError `invalid-configuration` */
export function natsOptions(options: ConnectOptions): NodeConnectionOptions {
  const authenticator = authenticatorOf(options);
  urls(options).forEach(assertScheme);
  return {
    servers: serverNames(options),
    name: options.name ?? 'jetlane',
    ...credentialsOf(options),
    ...(authenticator ? { authenticator } : {}),
    ...(options.tls ? { tls: { ...options.tls } } : {}),
    ...(options.inboxPrefix ? { inboxPrefix: options.inboxPrefix } : {}),
    maxReconnectAttempts: -1,
    // The first connection is waited for by `connect`: the client would wait for ever on wrong credentials too.
    waitOnFirstConnect: false,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: reconnectDelay(),
    // LinkWatch does it: the client's own pings would take a busy process for a dead link.
    pingInterval: LONGEST_TIMER_MS,
    timeout: DIAL_TIMEOUT_MS,
    noAsyncTraces: true,
  };
}

/** Gives the delay before the next try, in ms. It begins anew after a while without any: the next outage is another one. */
export function reconnectDelay(): () => number {
  let failures = 0;
  let last = 0;
  return () => {
    const now = performance.now();
    if (now - last > QUIET_MS) failures = 0;
    last = now;
    const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures++, 6));
    return FIRST_DELAY_MS + Math.random() * ceiling;
  };
}

/** The server URLs without credentials. */
export function serverNames(options: ConnectOptions): string[] {
  const names = urls(options).map((url) => url.replace(URL_FORM, (_, scheme: string = '', _user: unknown, rest: string) => scheme + rest));
  return names.length > 0 ? names : [DEFAULT_SERVER];
}

function urls({ servers = [] }: ConnectOptions): string[] {
  const list = typeof servers === 'string' ? servers.split(',') : servers;
  return list.map((url) => url.trim()).filter((url) => url !== '');
}

/** Another kind of server would be waited for without end. */
function assertScheme(url: string): void {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined || SCHEMES.has(scheme)) return;
  throw new JetlaneError(
    'invalid-configuration',
    `expected servers to be URLs such as nats://host:4222; got one that begins with ${scheme}://`,
    {
      details: { field: 'servers' },
    },
  );
}

/** The client leaves out what stands before the @ of a URL, and takes digits there for the port. */
function credentialsOf(options: ConnectOptions): { user?: string | undefined; pass?: string | undefined; token?: string | undefined } {
  const { user, password, token } = options;
  if (user !== undefined || token !== undefined) return { user, pass: password, token };
  const [name, ...secret] = (
    urls(options)
      .map((url) => URL_FORM.exec(url)?.[2])
      .find(Boolean) ?? ''
  ).split(':');
  if (!name) return {};
  if (secret.length === 0) return { token: decodeURIComponent(name) };
  return { user: decodeURIComponent(name), pass: decodeURIComponent(secret.join(':')) };
}

function authenticatorOf(options: ConnectOptions) {
  if (options.credsFile) return credsAuthenticator(readSecret('credsFile', options.credsFile));
  if (options.nkeySeedFile) return nkeyAuthenticator(Buffer.from(readSecret('nkeySeedFile', options.nkeySeedFile).toString().trim()));
  return undefined;
}

function readSecret(field: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new JetlaneError('invalid-configuration', `${field} cannot be read: ${(cause as Error).message}`, { cause, details: { field } });
  }
}
