import type { COMPOSE_CHECKS } from './compose-checks.js';
import type { ComposeService, Deployment } from './deployment.js';
import type { STACK_CHECKS } from './stack-checks.js';

export type CheckName = keyof typeof COMPOSE_CHECKS | keyof typeof STACK_CHECKS;

/** A small mistake, the check that must notice it, and a word that its complaint must contain. */
export type Breakage = readonly [check: CheckName, complaint: string, breakIt: (deployment: Deployment) => void];

const service = (d: Deployment, name: string): ComposeService => {
  const found = d.compose.services[name];
  if (found === undefined) throw new Error(`no service ${name} to break`);
  return found;
};
const NATS = 'deploy/nats/cluster.conf';
const editNats = (from: string | RegExp, to: string) => (d: Deployment) => {
  d.natsConfigs[NATS] = (d.natsConfigs[NATS] ?? '').replace(from, to);
};
const setEnvironment = (name: string, variable: string, value: string | undefined) => (d: Deployment) => {
  const { [variable]: _, ...rest } = service(d, name).environment ?? {};
  service(d, name).environment = value === undefined ? rest : { ...rest, [variable]: value };
};
const edit = (name: string, change: Partial<ComposeService>) => (d: Deployment) => void Object.assign(service(d, name), change);
const rewrite =
  (file: 'composeText' | 'envExample' | 'dockerfile' | 'dockerignore', from: string | RegExp, to: string) => (d: Deployment) => {
    d[file] = d[file].replace(from, to);
  };
const settings = (app: string, change: object) => (d: Deployment) => void Object.assign(d.settings[app] ?? {}, change);
const datasource = (index: number, change: { uid?: string; url?: string }) => (d: Deployment) =>
  void Object.assign(d.datasources.datasources[index] ?? {}, change);
const firstPanelAsks = (expr: string) => (d: Deployment) => {
  const panel = d.dashboards[0]?.panels.find(({ targets }) => targets !== undefined);
  if (panel) panel.targets = [{ expr }];
};

export const BREAKAGES: readonly Breakage[] = [
  ['everyServiceIsAnApp', 'no folder', (d) => void Object.assign(d.compose.services, { extra: structuredClone(service(d, 'gateway')) })],
  ['everyServiceIsAnApp', 'no service', (d) => void delete d.compose.services.scheduler],
  ['everyServiceIsAnApp', 'runs node', edit('worker', { command: ['node', 'apps/gateway/dist/main.js'] })],
  ['portsAreTheDefaults', 'does not offer', edit('scheduler', { expose: ['3009'] })],
  ['portsAreTheDefaults', 'rely on the default', setEnvironment('scheduler', 'SCHEDULER_PORT', '3009')],
  ['portsAreTheDefaults', 'on 3010', settings('gateway', { port: 3010 })],
  ['portsAreTheDefaults', 'no other container', settings('worker', { host: '127.0.0.1' })],
  ['portsAreTheDefaults', 'refuses', (d) => void Object.assign(d.settings, { worker: { refused: 'no such queue' } })],
  ['portsAreTheDefaults', 'by WORKERS_PORT', settings('worker', { portVariable: 'WORKERS_PORT' })],
  ['everythingHasAHealthCheck', 'no complete', (d) => void delete service(d, 'jaeger').healthcheck],
  ['everythingHasAHealthCheck', 'does not ask', (d) => edit('worker', { healthcheck: service(d, 'analytics').healthcheck })(d)],
  ['environmentIsKnown', 'NATS_URLS', setEnvironment('worker', 'NATS_URLS', 'nats://nats-1:4222')],
  ['operatorsCanSetEverything', 'WORKER_STUCK_EXIT', setEnvironment('worker', 'WORKER_STUCK_EXIT', undefined)],
  [
    'operatorsCanSetEverything',
    'DEAD_LETTERS_NEW',
    (d) => void Object.assign(d, { configuration: `${d.configuration}\n| \`DEAD_LETTERS_NEW\` | \`1\` | new | resiliency |` }),
  ],
  [
    'operatorsCanSetEverything',
    'NATS_TOKENS',
    (d) => void Object.assign(d, { configuration: d.configuration.replace('`NATS_TOKEN`', '`NATS_TOKENS`') }),
  ],
  ['addressesExist', 'no service', setEnvironment('gateway', 'NATS_URL', 'nats://nats-1:4222,nats://nats-4:4222')],
  ['addressesExist', 'no service', setEnvironment('worker', 'DATABASE_URL', 'postgres://jetlane:secret@database:5432/jetlane')],
  ['addressesExist', 'does not offer', setEnvironment('gateway', 'OTEL_EXPORTER_OTLP_ENDPOINT', 'http://jaeger:4317')],
  ['publishedPortsAreLocal', 'beyond', edit('nats-1', { ports: ['4222:4222'] })],
  ['publishedPortsAreLocal', 'in use', edit('grafana', { ports: ['127.0.0.1:3000:3000'] })],
  ['volumesAreDeclared', 'undeclared', edit('postgres', { volumes: ['database:/var/lib/postgresql/data'] })],
  ['volumesAreDeclared', 'by nobody', (d) => void Object.assign(d.compose.volumes, { spare: null })],
  ['volumesAreDeclared', 'shares', edit('nats-2', { volumes: ['nats-1-data:/data'] })],
  ['volumesAreDeclared', 'missing', edit('prometheus', { volumes: ['./deploy/prom:/etc/prometheus:ro', 'prometheus-data:/prometheus'] })],
  ['volumesAreDeclared', 'cannot write', rewrite('dockerfile', 'install -d -o node -g node', 'mkdir -p')],
  ['dependenciesWait', 'is no service', edit('grafana', { depends_on: { prom: { condition: 'service_healthy' } } })],
  ['dependenciesWait', 'healthy', edit('grafana', { depends_on: { prometheus: { condition: 'service_started' } } })],
  ['dependenciesWait', 'for NATS', edit('scheduler', { depends_on: {} })],
  ['secretsAreRequired', 'refuses', rewrite('composeText', /(\{POSTGRES_PASSWORD):[^}]*/g, '$1:-guest')],
  ['secretsAreRequired', 'not used', rewrite('composeText', /\$\{POSTGRES_PASSWORD:[^}]*\}/g, 'postgres')],
  ['secretsAreRequired', '.env.example', rewrite('envExample', 'LOG_LEVEL', 'LEVEL')],
  ['secretsAreRequired', 'empty', rewrite('envExample', 'POSTGRES_PASSWORD=', 'POSTGRES_PASSWORD=secret')],
  ['secretsAreRequired', 'API keys', setEnvironment('gateway', 'JETLANE_API_KEYS', undefined)],
  ['containersBehave', 'restart', edit('jaeger', { restart: 'no' })],
  ['containersBehave', 'stop_grace_period', (d) => void delete service(d, 'worker').stop_grace_period],
  ['containersBehave', 'is killed', setEnvironment('worker', 'WORKER_SHUTDOWN_TIMEOUT', '45s')],
  ['containersBehave', 'init', edit('worker', { init: false })],
  ['containersBehave', 'pinned', edit('grafana', { image: 'grafana/grafana:latest' })],
  ['containersBehave', 'pinned', edit('postgres', { image: 'postgres' })],
  ['natsNodesFormACluster', 'no route to nats-3', editNats('nats://nats-3:6222', 'nats://nats-4:6222')],
  ['natsNodesFormACluster', 'unknown nats-4', editNats('"nats://nats-3:6222"', '"nats://nats-3:6222" "nats://nats-4:6222"')],
  ['natsNodesFormACluster', 'no route', editNats('0.0.0.0:6222', '0.0.0.0:6223')],
  ['natsNodesFormACluster', 'calls itself', setEnvironment('nats-2', 'NATS_SERVER_NAME', 'nats-1')],
  ['natsNodesFormACluster', 'replicas', setEnvironment('gateway', 'JETLANE_REPLICAS', '5')],
  ['natsNodesFormACluster', 'missing', edit('nats-1', { command: ['--config', '/etc/nats/other.conf'] })],
  ['natsIsConfigured', '2.14', edit('nats-1', { image: 'nats:2.12-alpine' })],
  ['natsIsConfigured', 'does not get', setEnvironment('nats-1', 'NATS_SERVER_NAME', undefined)],
  ['natsIsConfigured', 'no users', editNats('include', '# include')],
  ['natsIsConfigured', 'needs none', edit('nats-1', { secrets: [{ source: 'nats-worker', target: 'nats.nk' }] })],
  ['everyServiceIsItsOwnUser', 'no user of', (d) => void delete d.natsUsers.worker],
  ['everyServiceIsItsOwnUser', 'gets the seed', edit('worker', { secrets: [{ source: 'nats-gateway', target: 'nats.nk' }] })],
  ['everyServiceIsItsOwnUser', 'does not find', setEnvironment('worker', 'NATS_NKEY_SEED', undefined)],
  ['everyServiceIsItsOwnUser', 'listens on', setEnvironment('worker', 'NATS_INBOX_PREFIX', '_INBOX')],
  ['natsIsConfigured', 'sync', editNats('100ms', '2m')],
  ['natsIsConfigured', 'no volume', editNats('"/data"', '"/tmp"')],
  ['natsIsConfigured', 'port 8223', editNats('0.0.0.0:8222', '0.0.0.0:8223')],
  ['prometheusScrapesEveryService', 'missing target', (d) => void d.prometheus.scrape_configs.pop()],
  [
    'prometheusScrapesEveryService',
    'unexpected',
    (d) => void Object.assign(d.prometheus.scrape_configs[1]?.dns_sd_configs[0] ?? {}, { port: 3000 }),
  ],
  [
    'prometheusScrapesEveryService',
    'another path',
    (d) => void Object.assign(d.prometheus.scrape_configs[0] ?? {}, { metrics_path: '/prom' }),
  ],
  ['dashboardsAskForExportedMetrics', 'jetlane_depth', firstPanelAsks('sum by (queue) (rate(jetlane_depth{queue="x"}[5m]))')],
  ['dashboardsAskForExportedMetrics', 'jetlane_task_run_seconds', firstPanelAsks('max(jetlane_task_run_seconds)')],
  ['dashboardsAskForExportedMetrics', 'the label reason', firstPanelAsks('max by (reason) (jetlane_queue_depth)')],
  ['dashboardsAskForExportedMetrics', 'the label task', firstPanelAsks('max(jetlane_queue_depth{task=~"x"})')],
  ['dashboardsAskForExportedMetrics', 'no series', firstPanelAsks('time()')],
  ['dashboardsAskForExportedMetrics', 'datasource', datasource(0, { uid: 'other' })],
  [
    'dashboardsAskForExportedMetrics',
    'a variable',
    (d) => void Object.assign(d.dashboards[0]?.templating.list[0]?.query ?? {}, { query: 'label_values(depth, queue)' }),
  ],
  ['grafanaFindsItsFiles', 'no service', datasource(1, { url: 'http://tracing:16686' })],
  ['grafanaFindsItsFiles', 'does not mount', edit('grafana', { volumes: ['grafana-data:/var/lib/grafana'] })],
  ['imageCanBeBuilt', 'is missing', rewrite('dockerfile', 'COPY libs libs', 'COPY packages packages')],
  ['imageCanBeBuilt', 'hides', rewrite('dockerignore', /$/, 'scripts\n')],
  ['imageCanBeBuilt', '.env', rewrite('dockerignore', '.env\n', '')],
  ['imageCanBeBuilt', 'npm run compile', rewrite('dockerfile', 'npm run build', 'npm run compile')],
  ['imageCanBeBuilt', 'root', rewrite('dockerfile', 'USER node', 'USER root')],
  ['imageCanBeBuilt', 'pinned', rewrite('dockerfile', /NODE_IMAGE=.*/, 'NODE_IMAGE=node:latest')],
  ['imageCanBeBuilt', 'missing Dockerfile', edit('gateway', { build: { context: '.', dockerfile: 'Dockerfile' } })],
];
