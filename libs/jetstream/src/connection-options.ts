import { readFileSync } from 'node:fs';
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { credsAuthenticator, nkeyAuthenticator } from '@nats-io/transport-node';

/** How to reach the NATS server. Every field has a default. */
export interface ConnectOptions {
  /** Server URLs. Default `nats://127.0.0.1:4222`. */
  readonly servers?: string | readonly string[];
  /** Name shown in the server's connection list. Default `jetlane`. */
  readonly name?: string;
  /** Keeps several installations apart on one account. Default: none. */
  readonly namespace?: string;
  /** Replicas of streams that this connection provisions: 1, 3 or 5. Default 1. */
  readonly replicas?: number;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** Path of a credentials file (JWT and NKey seed). */
  readonly credsFile?: string;
  /** Path of a file that holds an NKey seed. */
  readonly nkeySeedFile?: string;
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  /** Wait for the first connection for ever instead of failing. Default true. */
  readonly waitOnFirstConnect?: boolean;
  /** Interval of pings, in ms; two missed ones close the connection. Default 2,000: a half-open link is found in 4 to 6 s. */
  readonly pingIntervalMs?: number;
  /** Unacknowledged publishes at a time. Default 4096. */
  readonly publishWindow?: number;
  /** How long a publish may take, retries included, in ms. Default 10,000. */
  readonly publishTimeoutMs?: number;
}

const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 2000;

/** Options of the NATS client: reconnect for ever, with exponential backoff and full jitter. */
export function natsOptions(options: ConnectOptions): NodeConnectionOptions {
  let failures = 0;
  const authenticator = authenticatorOf(options);
  return {
    servers:
      options.servers === undefined
        ? 'nats://127.0.0.1:4222'
        : typeof options.servers === 'string'
          ? options.servers.split(',')
          : [...options.servers],
    name: options.name ?? 'jetlane',
    user: options.user,
    pass: options.password,
    token: options.token,
    ...(authenticator ? { authenticator } : {}),
    ...(options.tls ? { tls: { ...options.tls } } : {}),
    maxReconnectAttempts: -1,
    waitOnFirstConnect: options.waitOnFirstConnect ?? true,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: () => {
      const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures++, 6));
      return FIRST_DELAY_MS + Math.random() * ceiling;
    },
    pingInterval: options.pingIntervalMs ?? 2000,
    maxPingOut: 2,
    noAsyncTraces: true,
  };
}

function authenticatorOf(options: ConnectOptions) {
  if (options.credsFile) return credsAuthenticator(readFileSync(options.credsFile));
  if (options.nkeySeedFile) return nkeyAuthenticator(new TextEncoder().encode(readFileSync(options.nkeySeedFile, 'utf8').trim()));
  return undefined;
}
