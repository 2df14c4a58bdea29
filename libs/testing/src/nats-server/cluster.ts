import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LaunchError } from '../errors.js';
import { freePorts } from '../process/ports.js';
import { waitUntil } from '../process/wait-until.js';
import { type NatsServer, type NatsServerOptions, startNatsServer } from './server.js';

const FORM_TIMEOUT_MS = 30_000;

/** How to run a cluster. */
export interface NatsClusterOptions extends Pick<NatsServerOptions, 'binary' | 'resolve' | 'extra'> {
  /** Number of nodes. Default 3. */
  size?: number;
  /** Undefined (default): a temporary folder, deleted by `stop()`. */
  dir?: string;
}

/** A running JetStream cluster. Kill and restart single nodes through `servers`. */
export interface NatsCluster {
  servers: readonly NatsServer[];
  /** All nodes, comma separated, as NATS_URL takes it. */
  url: string;
  /** Resolves when the running nodes (at least `nodes` of them) have a leader and are healthy. */
  healthy(nodes?: number): Promise<void>;
  /** Stops every node; deletes the folder if it was a temporary one. */
  stop(): Promise<void>;
}

/** Starts a JetStream cluster and resolves when it has elected a leader. */
export async function startNatsCluster(options: NatsClusterOptions = {}): Promise<NatsCluster> {
  const size = options.size ?? 3;
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'jetlane-cluster-')));
  const routes = await freePorts(size);
  const started = await Promise.allSettled(routes.map((port, index) => startNode(options, dir, { index, port, routes })));
  const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  };
  try {
    const failed = started.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await waitHealthy(servers, size);
  } catch (error) {
    await stop();
    throw error;
  }
  const url = servers.map((server) => server.url).join(',');
  return { servers, url, healthy: (nodes = size) => waitHealthy(servers, nodes), stop };
}

function startNode(
  options: NatsClusterOptions,
  dir: string,
  node: { index: number; port: number; routes: readonly number[] },
): Promise<NatsServer> {
  const { binary, resolve, extra } = options;
  const name = `jetlane-${node.index + 1}`;
  const cluster = { name: 'jetlane', port: node.port, routes: node.routes };
  return startNatsServer({ binary, resolve, extra, name, storeDir: join(dir, name), monitorPort: 0, cluster });
}

async function waitHealthy(servers: readonly NatsServer[], nodes: number): Promise<void> {
  const check = async () => {
    const states = await Promise.all(servers.filter((server) => server.pid !== undefined).map(isHealthy));
    return states.filter(Boolean).length >= nodes;
  };
  if (await waitUntil(check, { timeoutMs: FORM_TIMEOUT_MS, everyMs: 50 })) return;
  throw new LaunchError('start-timeout', `The cluster had fewer than ${nodes} healthy nodes after ${FORM_TIMEOUT_MS / 1_000} s.`, {
    retryable: true,
  });
}

/** A node is healthy when it knows the meta leader and its own health check agrees. */
async function isHealthy(server: NatsServer): Promise<boolean> {
  try {
    const options = { signal: AbortSignal.timeout(1_000) };
    const health = await fetch(`${server.monitorUrl}/healthz`, options);
    const jetstream = await fetch(`${server.monitorUrl}/jsz`, options);
    const { meta_cluster: meta } = (await jetstream.json()) as { meta_cluster?: { leader?: string } };
    return health.ok && Boolean(meta?.leader);
  } catch {
    return false;
  }
}
