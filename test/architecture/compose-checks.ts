import { SERVICES } from '@jetlane/testing';
import type { ComposeService, Deployment } from './deployment.js';
import { APPS_WITHOUT_CONTAINER, REQUIRED_SECRETS } from './platform.js';

/** A named question about the deployment; each string of the answer is one contradiction. */
export type Check = (deployment: Deployment) => string[];

export function entries(d: Deployment): [string, ComposeService][] {
  return Object.entries(d.compose.services);
}

/** The containers that run our own image. */
export function ownServices(d: Deployment): [string, ComposeService][] {
  return entries(d).filter(([, service]) => service.build !== undefined);
}

function containerPorts(service: ComposeService): number[] {
  return [...(service.ports ?? []).map((port) => port.split(':').at(-1)), ...(service.expose ?? [])].map(Number);
}

const everyServiceIsAnApp: Check = (d) => {
  const apps = d.apps.filter((app) => !APPS_WITHOUT_CONTAINER.includes(app));
  const own = ownServices(d).map(([name]) => name);
  return [
    ...own.filter((name) => !apps.includes(name)).map((name) => `service ${name} has no folder in apps/`),
    ...apps.filter((app) => !own.includes(app)).map((app) => `apps/${app} has no service`),
    ...SERVICES.flatMap(({ name, entry }) => {
      const command = d.compose.services[name]?.command?.join(' ');
      return command === `node ${entry}` ? [] : [`service ${name} runs ${command}`];
    }),
    ...own.filter((name) => !d.exists(`apps/${name}/src/main.ts`)).map((name) => `apps/${name}/src/main.ts is missing`),
  ];
};

const portsAreTheDefaults: Check = (d) =>
  SERVICES.flatMap(({ name, defaultPort, portEnv }) => {
    const service = d.compose.services[name];
    if (service === undefined) return [`no service ${name}`];
    const problems = containerPorts(service).includes(defaultPort) ? [] : [`service ${name} does not offer port ${defaultPort}`];
    if (service.environment?.[portEnv] !== undefined) problems.push(`${name} sets ${portEnv}: rely on the default`);
    const settings = d.settings[name];
    if (settings === undefined || 'refused' in settings)
      return [...problems, `apps/${name}/src/config.ts refuses what compose sets: ${settings?.refused}`];
    const { name: own, host, port, portVariable } = settings;
    if (own !== name || port !== defaultPort || portVariable !== portEnv)
      problems.push(`apps/${name} listens as ${own} on ${port}, changed by ${portVariable}`);
    if (host !== '0.0.0.0') problems.push(`${name} listens on ${host}, where no other container reaches it`);
    return problems;
  });

const everythingHasAHealthCheck: Check = (d) => [
  ...entries(d)
    .filter(([, { healthcheck: h }]) => !(h && ['CMD', 'CMD-SHELL'].includes(h.test[0] ?? '') && h.interval && h.timeout && h.retries))
    .map(([name]) => `${name} has no complete health check`),
  ...SERVICES.flatMap(({ name, defaultPort }) => {
    const url = `http://127.0.0.1:${defaultPort}/health/ready`;
    return d.compose.services[name]?.healthcheck?.test.join(' ').includes(`fetch('${url}')`)
      ? []
      : [`the health check of ${name} does not ask ${url}`];
  }),
];

const environmentIsKnown: Check = (d) => {
  const namesIn = (wanted: (path: string) => boolean): string[] =>
    Object.entries(d.configModules).flatMap(([path, text]) => (wanted(path) ? (text.match(/\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\b/g) ?? []) : []));
  const shared = namesIn((path) => path.startsWith('libs/'));
  return ownServices(d).flatMap(([name, { environment = {} }]) => {
    const known = new Set([...shared, ...namesIn((path) => path.startsWith(`apps/${name}/`))]);
    return Object.keys(environment)
      .filter((variable) => !known.has(variable))
      .map((variable) => `${name} sets ${variable}, which none of its config.ts reads`);
  });
};

/** What compose leaves to its defaults, and why. */
const NOT_PASSED = {
  GATEWAY_PORT: 'health checks, Prometheus and other services rely on the ports',
  QUEUE_MANAGER_PORT: 'as above',
  SCHEDULER_PORT: 'as above',
  RESILIENCY_PORT: 'as above',
  ANALYTICS_PORT: 'as above',
  WORKER_PORT: 'as above',
  NATS_USER: 'every service has a key',
  NATS_PASSWORD: 'as above',
  NATS_TOKEN: 'as above',
  NATS_CREDS: 'as above',
  NATS_TLS_CA: 'the network of the containers is not open to others',
  NATS_TLS_CERT: 'as above',
  NATS_TLS_KEY: 'as above',
  JETLANE_TLS_CERT: 'health check and Prometheus ask the gateway over HTTP; a proxy in front of it ends TLS',
  JETLANE_TLS_KEY: 'as above',
  JETLANE_DATA_DIR: 'JETLANE_SEARCH_DIR says where, and no service keeps anything else',
  JETLANE_NAMESPACE: 'the NATS cluster is for this installation alone',
  NO_COLOR: 'logs are JSON',
};

/** Every variable of the documentation reaches the containers that read it, or the list above says why not. */
const operatorsCanSetEverything: Check = (d) => {
  const rows = [...d.configuration.matchAll(/^\| `(\w+)` \|.*\| ([^|]+) \|$/gm)].map(([, variable = '', readers = '']) => ({
    variable,
    readers: readers.split(',').map((reader) => reader.trim().replace('worker host', 'worker')),
  }));
  const own = ownServices(d);
  const read = rows.flatMap(({ variable, readers }) =>
    own
      .filter(([name]) => readers.includes(name) || readers.includes('all'))
      .map(([name, { environment = {} }]) => ({ name, variable, environment })),
  );
  return [
    ...read
      .filter(({ variable, environment }) => !(variable in environment) && !(variable in NOT_PASSED))
      .map(({ name, variable }) => `${name} reads ${variable}, which compose does not pass on`),
    ...Object.keys(NOT_PASSED)
      .filter((variable) => !read.some((row) => row.variable === variable))
      .map((variable) => `${variable} is left out for a reason, and no service reads it`),
  ];
};

const addressesExist: Check = (d) =>
  ownServices(d).flatMap(([name, { environment = {} }]) =>
    ['NATS_URL', 'DATABASE_URL', 'OTEL_EXPORTER_OTLP_ENDPOINT'].flatMap((variable) =>
      String(environment[variable] ?? '')
        .replaceAll(/\$\{[^}]*\}/g, 'secret')
        .split(',')
        .filter((address) => address !== '')
        .flatMap((address) => {
          const { hostname, port } = new URL(address);
          const target = d.compose.services[hostname];
          if (target === undefined) return [`${name}: ${variable} names ${hostname}, which is no service`];
          // NATS and PostgreSQL listen on these without being told; the other images must say so here.
          const offered = [...containerPorts(target), ...(hostname.startsWith('nats-') ? [4222] : [])];
          return offered.includes(Number(port)) ? [] : [`${name}: ${variable} uses port ${port}, which ${hostname} does not offer`];
        }),
    ),
  );

const publishedPortsAreLocal: Check = (d) => {
  const published = entries(d).flatMap(([name, { ports = [] }]) => ports.map((port) => ({ name, port })));
  const hostPorts = published.map(({ port }) => port.split(':').at(-2));
  return [
    ...published
      .filter(({ port }) => !/^127\.0\.0\.1:\d+:\d+$/.test(port))
      .map(({ name, port }) => `${name} publishes ${port} beyond 127.0.0.1`),
    ...published
      .filter((_, i) => hostPorts.indexOf(hostPorts[i]) !== i)
      .map(({ name, port }) => `${name} publishes ${port}, a host port in use`),
  ];
};

const volumesAreDeclared: Check = (d) => {
  const mounts = entries(d).flatMap(([name, { volumes = [] }]) => volumes.map((mount) => ({ name, source: mount.split(':')[0] ?? '' })));
  const declared = Object.keys(d.compose.volumes);
  const named = mounts.filter(({ source }) => !/^[./]/.test(source));
  return [
    // A volume without a name is the container's own, and belongs to whom the image says.
    ...mounts
      .filter(({ source }) => source.startsWith('/') && !d.dockerfile.includes(`install -d -o node -g node -m 0700 ${source}\n`))
      .map(({ name, source }) => `${name} cannot write to ${source}: the image does not give it to its user`),
    ...named.filter(({ source }) => !declared.includes(source)).map(({ name, source }) => `${name} mounts the undeclared volume ${source}`),
    ...declared.filter((volume) => !named.some(({ source }) => source === volume)).map((volume) => `volume ${volume} is mounted by nobody`),
    ...named
      .filter(({ source }, i) => named.findIndex((other) => other.source === source) !== i)
      .map(({ name, source }) => `${name} shares volume ${source}`),
    ...mounts
      .filter(({ source }) => source.startsWith('.') && !d.exists(source))
      .map(({ name, source }) => `${name} mounts ${source}, which is missing`),
  ];
};

const dependenciesWait: Check = (d) =>
  entries(d).flatMap(([name, { depends_on = {} }]) => [
    ...Object.entries(depends_on).flatMap(([target, { condition }]) => {
      if (d.compose.services[target] === undefined) return [`${name} depends on ${target}, which is no service`];
      return condition === 'service_healthy' ? [] : [`${name} does not wait until ${target} is healthy`];
    }),
    ...(d.compose.services[name]?.build && !Object.keys(depends_on).some((target) => target.startsWith('nats-'))
      ? [`${name} does not wait for NATS`]
      : []),
  ]);

const secretsAreRequired: Check = (d) => {
  const used = [...d.composeText.matchAll(/\$\{([A-Z_]+)(:?[^}]*)\}/g)].map(([, name = '', rest = '']) => ({ name, rest }));
  const documented = new Set([...d.envExample.matchAll(/^(?:# )?([A-Z_]+)=/gm)].map(([, name]) => name));
  return [
    ...REQUIRED_SECRETS.filter((secret) => !used.some(({ name }) => name === secret)).map((secret) => `${secret} is not used`),
    ...used
      .filter(({ name, rest }) => !(REQUIRED_SECRETS.some((secret) => secret === name) ? rest.startsWith(':?') : rest.startsWith(':-')))
      .map(({ name, rest }) => `\${${name}${rest}} neither refuses to start without a value nor has a default`),
    ...used.filter(({ name }) => !documented.has(name)).map(({ name }) => `${name} is missing in .env.example`),
    ...REQUIRED_SECRETS.filter((secret) => !new RegExp(`^${secret}=$`, 'm').test(d.envExample)).map(
      (secret) => `.env.example must leave ${secret} empty`,
    ),
    ...ownServices(d)
      .filter(
        ([name, { environment = {} }]) =>
          name === 'gateway' && environment.HOST === '0.0.0.0' && environment.JETLANE_API_KEYS === undefined,
      )
      .map(([name]) => `${name} listens beyond loopback without API keys`),
  ];
};

const seconds = (duration: string | number | undefined): number => Number.parseInt(String(duration ?? '0s'), 10);

const containersBehave: Check = (d) =>
  entries(d).flatMap(([name, service]) => [
    ...(service.restart === 'unless-stopped' ? [] : [`${name} has no restart policy`]),
    ...(/^\d+s$/.test(service.stop_grace_period ?? '') ? [] : [`${name} has no stop_grace_period`]),
    ...(seconds(service.environment?.WORKER_SHUTDOWN_TIMEOUT) < seconds(service.stop_grace_period)
      ? []
      : [`${name} is killed before its handlers may finish`]),
    ...(service.build === undefined || service.init ? [] : [`${name} has no init process to reap children`]),
    ...(/^[\w./-]+:(v?\d[\w.-]*)$|^\$\{JETLANE_IMAGE:-jetlane:local\}$/.test(service.image ?? '')
      ? []
      : [`the image of ${name} is not pinned: ${service.image}`]),
  ]);

export const COMPOSE_CHECKS = {
  everyServiceIsAnApp,
  portsAreTheDefaults,
  everythingHasAHealthCheck,
  environmentIsKnown,
  operatorsCanSetEverything,
  addressesExist,
  publishedPortsAreLocal,
  volumesAreDeclared,
  dependenciesWait,
  secretsAreRequired,
  containersBehave,
} satisfies Record<string, Check>;
