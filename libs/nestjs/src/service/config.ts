import { isIP } from 'node:net';
import { type ConnectOptions } from '@jetlane/jetstream';
import { JetlaneError, Names, TOPOLOGIES } from '@jetlane/protocol';
import { z } from 'zod';
import { type Environment, setVariables } from './environment.js';
import type { TlsFiles } from './tls.js';

/** Settings that every service of the platform has. */
export interface ServiceConfig {
  /** Name of the service, as in `gateway`. */
  readonly name: string;
  /** Address that the HTTP server binds to. Default 127.0.0.1. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** The environment variable that sets the port, for error messages. */
  readonly portVariable: string;
  readonly nats: ConnectOptions;
  readonly logLevel: LogLevel;
  /** Default `pretty` on a terminal, else `json`. */
  readonly logFormat: 'json' | 'pretty';
  /** Base URL of an OTLP/HTTP collector; spans are made only when it is set. */
  readonly otlpEndpoint?: string;
  readonly apiKeys: readonly string[];
  /** Links to NATS that producing is spread over; undefined: one link. */
  readonly pool?: { readonly min: number; readonly max: number };
  /** What the operator should know about the environment: variables of an earlier system, with their successors. */
  readonly notices?: readonly string[];
  /** The HTTP server speaks TLS with this certificate. Default: plain HTTP. */
  readonly tls?: TlsFiles;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
/** What is logged: this and all that is graver; `silent` is nothing. */
export type LogLevel = (typeof LOG_LEVELS)[number];

const flag = z.stringbool({ error: 'expected true or false' });
const links = z.coerce.number().int('expected a whole number').min(1).max(64);
const port = z.coerce.number().int('expected a whole number').min(0).max(65_535);
const pretty = (): 'json' | 'pretty' => (process.stdout.isTTY ? 'pretty' : 'json');
const list = (text: string): string[] => text.split(',').flatMap((item) => item.trim() || []);

const schema = z
  .object({
    HOST: z.string().default('127.0.0.1'),
    PORT: port,
    NATS_URL: z
      .string()
      .default('nats://127.0.0.1:4222')
      .refine(
        (text) => list(text).length > 0 && list(text).every(isNatsUrl),
        'expected host:port or nats://, tls://, ws:// or wss:// URLs, comma separated',
      ),
    NATS_USER: z.string().optional(),
    NATS_PASSWORD: z.string().optional(),
    NATS_TOKEN: z.string().optional(),
    NATS_CREDS: z.string().optional(),
    NATS_NKEY_SEED: z.string().optional(),
    NATS_INBOX_PREFIX: z.string().optional(),
    NATS_TLS_CA: z.string().optional(),
    NATS_TLS_CERT: z.string().optional(),
    NATS_TLS_KEY: z.string().optional(),
    JETLANE_NAMESPACE: z.string().default('').refine(isNamespace, 'expected lower case letters, digits and -, at most 32'),
    JETLANE_REPLICAS: z.coerce
      .number()
      .refine((value) => [1, 3, 5].includes(value), 'expected 1, 3 or 5')
      .default(1),
    JETLANE_TOPOLOGY: z.enum(TOPOLOGIES, 'expected lanes or compact').default('lanes'),
    NATS_POOL_ENABLED: flag.optional(),
    NATS_POOL_MIN_CONNECTIONS: links.default(1),
    NATS_POOL_MAX_CONNECTIONS: links.default(4),
    JETLANE_API_KEYS: z.string().default(''),
    LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
    LOG_FORMAT: z.enum(['json', 'pretty']).optional(),
    OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' }).optional(),
  })
  .refine((settings) => settings.NATS_POOL_MIN_CONNECTIONS <= settings.NATS_POOL_MAX_CONNECTIONS, {
    path: ['NATS_POOL_MIN_CONNECTIONS'],
    message: 'expected to be at most NATS_POOL_MAX_CONNECTIONS',
  });
type Settings = z.output<typeof schema>;

/**
 * Settings of a service from the environment. An empty variable counts as unset.
 * @throws JetlaneError `invalid-configuration`: its message and `details.issues` list every wrong variable
 */
export function readServiceConfig(name: string, defaultPort: number, portVariable: string, env: Environment = process.env): ServiceConfig {
  const given = setVariables(env);
  const parsed = schema.safeParse({ ...given, PORT: given[portVariable] ?? defaultPort });
  if (!parsed.success) throw wrongVariables(parsed.error, portVariable, given);
  const settings = parsed.data;
  return {
    name,
    host: settings.HOST,
    port: settings.PORT,
    portVariable,
    nats: natsSettings(name, settings),
    logLevel: settings.LOG_LEVEL,
    logFormat: settings.LOG_FORMAT ?? pretty(),
    apiKeys: list(settings.JETLANE_API_KEYS),
    ...outdated(given),
    ...(settings.NATS_POOL_ENABLED ? { pool: { min: settings.NATS_POOL_MIN_CONNECTIONS, max: settings.NATS_POOL_MAX_CONNECTIONS } } : {}),
    ...(settings.OTEL_EXPORTER_OTLP_ENDPOINT ? { otlpEndpoint: settings.OTEL_EXPORTER_OTLP_ENDPOINT } : {}),
  };
}

const POOL = ['NATS_POOL_ENABLED', 'NATS_POOL_MIN_CONNECTIONS', 'NATS_POOL_MAX_CONNECTIONS'] as const;

/** Variables that people bring along from a system on Redis. */
function outdated(given: Environment): Pick<ServiceConfig, 'notices'> {
  const notices = Object.keys(given)
    .filter((name) => name.startsWith('REDIS_POOL_'))
    .map((name) => {
      const successor = POOL.find((known) => name.includes(known.split('_')[2]!)) ?? POOL.join(', ');
      return `${name} has no effect, since there is no Redis; use ${successor} instead`;
    });
  return notices.length > 0 ? { notices } : {};
}

function natsSettings(name: string, settings: Settings): ConnectOptions {
  const { NATS_TLS_CA: caFile, NATS_TLS_CERT: certFile, NATS_TLS_KEY: keyFile } = settings;
  return {
    servers: list(settings.NATS_URL),
    name: `jetlane-${name}`,
    namespace: settings.JETLANE_NAMESPACE,
    topology: settings.JETLANE_TOPOLOGY,
    replicas: settings.JETLANE_REPLICAS,
    ...(settings.NATS_USER ? { user: settings.NATS_USER } : {}),
    ...(settings.NATS_PASSWORD ? { password: settings.NATS_PASSWORD } : {}),
    ...(settings.NATS_TOKEN ? { token: settings.NATS_TOKEN } : {}),
    ...(settings.NATS_CREDS ? { credsFile: settings.NATS_CREDS } : {}),
    ...(settings.NATS_NKEY_SEED ? { nkeySeedFile: settings.NATS_NKEY_SEED } : {}),
    ...(settings.NATS_INBOX_PREFIX ? { inboxPrefix: settings.NATS_INBOX_PREFIX } : {}),
    ...(caFile || certFile || keyFile
      ? { tls: { ...(caFile ? { caFile } : {}), ...(certFile ? { certFile } : {}), ...(keyFile ? { keyFile } : {}) } }
      : {}),
  };
}

function wrongVariables(error: z.ZodError, portVariable: string, given: Environment): JetlaneError {
  const issues = error.issues.map((issue) => {
    const field = String(issue.path[0] ?? '');
    const variable = field === 'PORT' ? portVariable : field;
    return { variable, message: issue.message, value: hideCredentials(given[variable] ?? '') };
  });
  const text = issues.map(({ variable, message, value }) => `${variable}=${JSON.stringify(value)}: ${message}`).join('; ');
  return new JetlaneError('invalid-configuration', `the environment is not valid: ${text}`, { details: { issues } });
}

/** A URL, or several, without user and password: for messages and logs. */
export const hideCredentials = (text: string): string => text.replace(/\/\/[^/@\s]*@/g, '//');

/**
 * Refuses to serve the network without credentials. For services whose HTTP interface changes something (the gateway).
 * @throws JetlaneError `invalid-configuration`
 */
export function assertCredentials(config: Pick<ServiceConfig, 'host' | 'apiKeys'>): void {
  if (isLoopback(config.host) || config.apiKeys.length > 0) return;
  throw new JetlaneError(
    'invalid-configuration',
    `HOST=${config.host} lets other machines in, but JETLANE_API_KEYS names no key; set JETLANE_API_KEYS (comma separated), JETLANE_API_KEYS_FILE or JETLANE_JWT_JWKS, or HOST=127.0.0.1`,
    { details: { issues: [{ variable: 'JETLANE_API_KEYS', message: 'needed when HOST is not a loopback address' }] } },
  );
}

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function isNatsUrl(text: string): boolean {
  try {
    const url = new URL(text.includes('://') ? text : `nats://${text}`);
    return /^(nats|tls|ws|wss):$/.test(url.protocol) && url.hostname !== '';
  } catch {
    return false;
  }
}

function isNamespace(text: string): boolean {
  try {
    return new Names(text).namespace === text;
  } catch {
    return false;
  }
}
