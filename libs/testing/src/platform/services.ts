/** A service that the platform runs, as a program of its own. */
export interface ServiceSpec {
  name: string;
  /** The environment variable that tells it its port. */
  portEnv: string;
  defaultPort: number;
  /** What Node runs; relative to the project's root. */
  entry: string;
  /** Started, and ready, before the others: it creates the streams that they use. */
  first?: boolean;
  /** It speaks TLS when `JETLANE_TLS_CERT` and `JETLANE_TLS_KEY` are set. */
  tls?: boolean;
}

/** The five services and the worker host, in the order of the table that a reader sees. */
export const SERVICES: readonly ServiceSpec[] = [
  { ...service('gateway', 3000), tls: true },
  { ...service('queue-manager', 3001), first: true },
  service('scheduler', 3002),
  service('resiliency', 3003),
  service('analytics', 3004),
  service('worker', 3005),
];

/** Default ports of the embedded servers. */
export const NATS_PORT = 4222;
export const POSTGRES_PORT = 5442;

function service(name: string, defaultPort: number): ServiceSpec {
  const portEnv = `${name.toUpperCase().replace('-', '_')}_PORT`;
  return { name, portEnv, defaultPort, entry: `apps/${name}/dist/main.js` };
}
