import { fileURLToPath } from 'node:url';
import { assertCredentials, type Environment, readServiceConfig, type ServiceConfig, type TlsFiles } from '@jetlane/nestjs/service';
import { JetlaneError } from '@jetlane/protocol';
import { ApiKeys } from './access/api-keys.js';
import { type AccessConfig, readAccess } from './access/config.js';

/** Settings of the gateway. */
export interface GatewayConfig extends ServiceConfig {
  readonly access: AccessConfig;
  /** Folder of the built page. Default: that of apps/dashboard. */
  readonly pageDir: string;
  /** Longest time that the body of one task may take, ms. Default 30,000. */
  readonly bodyTimeoutMs: number;
  /** Longest time that the headers of a request may take, ms. Default 30,000. */
  readonly headersTimeoutMs: number;
  /** How long a connection may rest between two requests, ms. Default 72,000: longer than proxies keep theirs. */
  readonly idleTimeoutMs: number;
}

const DEFAULT_PORT = 3000;
/** HTTP callers do not wait longer than this for a publish to be confirmed, ms. */
const PUBLISH_TIMEOUT_MS = 5000;
const BODY_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 72_000;
const PAGE_DIR = fileURLToPath(new URL('../../dashboard/dist', import.meta.url));
/** Keeps what reads the keys here quiet: it is asked again, with a log, when the gateway starts. */
const SILENT = { info: () => undefined, error: () => undefined };

/**
 * Reads the settings from the environment.
 * @throws JetlaneError `invalid-configuration`; also when the network would be let in without credentials
 */
export function readGatewayConfig(env: Environment = process.env): GatewayConfig {
  const config = readServiceConfig('gateway', DEFAULT_PORT, 'GATEWAY_PORT', env);
  const access = readAccess(env, config.apiKeys);
  const tls = readTlsFiles(env);
  // Wrong lines of keys, or none at all, are told before anything is opened.
  const known = new ApiKeys(access.keys, SILENT).size > 0 || access.tokens !== undefined;
  if (!known) assertCredentials(config);
  return {
    ...config,
    nats: { ...config.nats, publishTimeoutMs: PUBLISH_TIMEOUT_MS },
    access,
    ...(tls ? { tls } : {}),
    pageDir: PAGE_DIR,
    bodyTimeoutMs: BODY_TIMEOUT_MS,
    headersTimeoutMs: HEADERS_TIMEOUT_MS,
    idleTimeoutMs: IDLE_TIMEOUT_MS,
  };
}

function readTlsFiles(env: Environment): TlsFiles | undefined {
  const { JETLANE_TLS_CERT, JETLANE_TLS_KEY } = env;
  if (JETLANE_TLS_CERT && JETLANE_TLS_KEY) return { certFile: JETLANE_TLS_CERT, keyFile: JETLANE_TLS_KEY };
  if (!JETLANE_TLS_CERT && !JETLANE_TLS_KEY) return undefined;
  const missing = JETLANE_TLS_CERT ? 'JETLANE_TLS_KEY' : 'JETLANE_TLS_CERT';
  throw new JetlaneError('invalid-configuration', `${missing} is missing: TLS needs JETLANE_TLS_CERT and JETLANE_TLS_KEY together`, {
    details: { issues: [{ variable: missing, message: 'needed with the other one' }] },
  });
}
