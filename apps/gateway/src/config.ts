import { fileURLToPath } from 'node:url';
import { assertCredentials, type Environment, readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';

/** Settings of the gateway. */
export interface GatewayConfig extends ServiceConfig {
  /** Folder of the built page. Default: that of apps/dashboard. */
  readonly pageDir: string;
  /** Longest time that the body of one task may take, ms. Default 30,000. */
  readonly bodyTimeoutMs: number;
}

const DEFAULT_PORT = 3000;
/** HTTP callers do not wait longer than this for a publish to be confirmed, ms. */
const PUBLISH_TIMEOUT_MS = 5000;
const BODY_TIMEOUT_MS = 30_000;
const PAGE_DIR = fileURLToPath(new URL('../../dashboard/dist', import.meta.url));

/**
 * Reads the settings from the environment.
 * @throws JetlaneError `invalid-configuration`; also when the network would be let in without credentials
 */
export function readGatewayConfig(env: Environment = process.env): GatewayConfig {
  const config = readServiceConfig('gateway', DEFAULT_PORT, 'GATEWAY_PORT', env);
  assertCredentials(config);
  return { ...config, nats: { ...config.nats, publishTimeoutMs: PUBLISH_TIMEOUT_MS }, pageDir: PAGE_DIR, bodyTimeoutMs: BODY_TIMEOUT_MS };
}
