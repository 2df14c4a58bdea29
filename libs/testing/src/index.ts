export { LaunchError, type LaunchErrorCode, type LaunchErrorOptions } from './errors.js';
export { type NatsCluster, type NatsClusterOptions, startNatsCluster } from './nats-server/cluster.js';
export { checkNatsUrl, readServerInfo, type ServerInfo } from './nats-server/probe.js';
export type { ReleaseOptions } from './nats-server/release.js';
export {
  type NatsServerBinary,
  type NatsServerSource,
  type ResolveOptions,
  resolveNatsServer,
} from './nats-server/resolve.js';
export { type NatsServer, type NatsServerOptions, startNatsServer } from './nats-server/server.js';
export { MINIMUM_NATS_VERSION } from './nats-server/version.js';
export type { PlatformEvent, PlatformListener } from './platform/events.js';
export type { PlatformOptions } from './platform/options.js';
export { type Platform, type PlatformUrls, startPlatform } from './platform/platform.js';
export { formatEvent, formatTable } from './platform/report.js';
export type { ServiceProcess } from './platform/service-process.js';
export { SERVICES, type ServiceSpec } from './platform/services.js';
export { findPostgres, type PostgresBinaries } from './postgres/binaries.js';
export { type PostgresOptions, type PostgresServer, startPostgres } from './postgres/server.js';
export type { ProcessExit } from './process/managed-process.js';
export { freePort, freePorts, isPortFree } from './process/ports.js';
export { type WaitUntilOptions, waitUntil } from './process/wait-until.js';
