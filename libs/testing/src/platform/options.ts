import { join, resolve as resolvePath } from 'node:path';
import { LaunchError } from '../errors.js';
import type { ResolveOptions } from '../nats-server/resolve.js';
import { freePorts } from '../process/ports.js';
import { findProjectRoot } from './data-dir.js';
import type { PlatformListener } from './events.js';
import { NATS_PORT, POSTGRES_PORT, SERVICES, type ServiceSpec } from './services.js';

/** How to run the platform. Everything has a default: what `npm start` does. */
export interface PlatformOptions {
  /** `default`: the documented ports, as changed by GATEWAY_PORT and so on. `random`: any free ones, for tests. */
  ports?: 'default' | 'random';
  /** Data, logs and run records. Default: JETLANE_DATA_DIR, else `.jetlane` in the project. */
  dataDir?: string;
  /** JETLANE_NAMESPACE of the services. Default: as in `env`. */
  namespace?: string;
  /** Number of processes per service, e.g. `{ worker: 2 }`. Default 1 each; 0 leaves it out. Replicas listen on random ports. */
  replicas?: Readonly<Record<string, number>>;
  /** Start again what dies. Default true; a test of a failure may want false. */
  restart?: boolean;
  /** More environment for the services, over that of this process. NATS_URL and DATABASE_URL in it mean: use those servers. */
  env?: Readonly<Record<string, string>>;
  /** What to run. Default: the five services and the worker host. */
  services?: readonly ServiceSpec[];
  /** Project root, which the entries of `services` are relative to. Default: found. */
  root?: string;
  /** How nats-server is found. Default: everywhere, see {@link ResolveOptions}. */
  resolve?: ResolveOptions;
  /** Told what starts, is ready, dies and ends. Default: nobody. */
  onEvent?: PlatformListener;
}

/** Options with every default filled in. */
export interface CompiledOptions extends Required<Omit<PlatformOptions, 'onEvent' | 'resolve' | 'ports' | 'namespace' | 'env'>> {
  /** Environment of every service, still without its port and the URLs of the servers. */
  env: NodeJS.ProcessEnv;
  resolve: ResolveOptions | undefined;
  emit: PlatformListener;
  /** Port by name: services, `worker-2`, `nats`, `postgres`. */
  ports: ReadonlyMap<string, number>;
  logDir: string;
  runDir: string;
}

/** @throws LaunchError `not-built` when the project root cannot be found, `invalid-port` when a variable does not hold a port. */
export async function compileOptions(options: PlatformOptions): Promise<CompiledOptions> {
  const env: NodeJS.ProcessEnv = { ...process.env, ...options.env };
  // Logs go to files here, and files are for machines.
  env.LOG_FORMAT ??= 'json';
  env.NODE_ENV ??= 'production';
  if (options.namespace !== undefined) env.JETLANE_NAMESPACE = options.namespace;
  const root = resolvePath(options.root ?? findProjectRoot());
  const dataDir = resolvePath(options.dataDir ?? (env.JETLANE_DATA_DIR || join(root, '.jetlane')));
  // Tells another start whose processes hold the ports that it wants.
  env.JETLANE_DATA_DIR = dataDir;
  const services = options.services ?? SERVICES;
  const replicas = options.replicas ?? {};
  const ports = await choosePorts(replicaNames(services, replicas), options.ports ?? 'default', env);
  const { restart = true, resolve } = options;
  const logDir = join(dataDir, 'logs');
  return {
    root,
    dataDir,
    services,
    replicas,
    restart,
    resolve,
    env,
    ports,
    logDir,
    runDir: join(dataDir, 'run'),
    emit: carefully(options.onEvent),
  };
}

/** One name per process: `worker`, `worker-2`, … */
export function replicaNames(
  services: readonly ServiceSpec[],
  replicas: Readonly<Record<string, number>>,
): { name: string; spec: ServiceSpec }[] {
  return services.flatMap((spec) => {
    const count = replicas[spec.name] ?? 1;
    return Array.from({ length: count }, (_, index) => ({ spec, name: index === 0 ? spec.name : `${spec.name}-${index + 1}` }));
  });
}

async function choosePorts(
  processes: readonly { name: string; spec: ServiceSpec }[],
  mode: 'default' | 'random',
  env: NodeJS.ProcessEnv,
): Promise<Map<string, number>> {
  const random = await freePorts(processes.length + 2);
  const choose = (name: string, variable: string, fallback: number, index: number): [string, number] => {
    const given = env[variable];
    const useRandom = mode === 'random' || name.match(/-\d+$/) !== null;
    return [name, useRandom ? (random[index] as number) : portFrom(variable, given, fallback)];
  };
  return new Map([
    choose('nats', 'NATS_PORT', NATS_PORT, 0),
    choose('postgres', 'POSTGRES_PORT', POSTGRES_PORT, 1),
    ...processes.map(({ name, spec }, index) => choose(name, spec.portEnv, spec.defaultPort, index + 2)),
  ]);
}

function portFrom(variable: string, given: string | undefined, fallback: number): number {
  if (given === undefined || given === '') return fallback;
  const port = Number(given);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new LaunchError('invalid-port', `${variable} is "${given}", but must be a port number from 1 to 65535.`, {
    details: { variable, given },
  });
}

function carefully(listener: PlatformListener | undefined): PlatformListener {
  return (event) => {
    try {
      listener?.(event);
    } catch {
      // A broken listener must not stop a platform.
    }
  };
}
