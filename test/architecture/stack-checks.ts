import { SERVICES } from '@jetlane/testing';
import type { Check } from './compose-checks.js';
import { entries, ownServices } from './compose-checks.js';
import type { ComposeService, Deployment } from './deployment.js';
import { exportedSeries } from './platform.js';

interface NatsNode {
  readonly name: string;
  readonly service: ComposeService;
  /** Its configuration without comments, or undefined where the mounted file does not exist. */
  readonly config: string | undefined;
}

function natsNodes(d: Deployment): NatsNode[] {
  return entries(d)
    .filter(([, { image }]) => image?.startsWith('nats:'))
    .map(([name, service]) => {
      const path = service.command?.[service.command.indexOf('--config') + 1] ?? '';
      const mount = service.volumes?.map((volume) => volume.split(':')).find(([, target]) => target && path.startsWith(`${target}/`));
      const file = mount ? path.replace(mount[1] ?? '', mount[0] ?? '').replace(/^\.\//, '') : path;
      return { name, service, config: d.natsConfigs[file]?.replaceAll(/#.*$/gm, '') };
    });
}

const natsNodesFormACluster: Check = (d) => {
  const nodes = natsNodes(d);
  const replicas = Math.max(...ownServices(d).map(([, { environment }]) => Number(environment?.JETLANE_REPLICAS ?? 1)));
  return [
    ...(replicas > nodes.length ? [`${replicas} replicas on ${nodes.length} nodes`] : []),
    ...nodes.flatMap(({ name, service, config }) => {
      if (config === undefined) return [`the configuration of ${name} is missing`];
      const cluster = /cluster\s*\{([\s\S]*)\}/.exec(config)?.[1] ?? '';
      const routePort = /listen:\s*"[\d.]+:(\d+)"/.exec(cluster)?.[1];
      const routes = [...cluster.matchAll(/nats:\/\/([^:"]+):(\d+)/g)].map(([, host, port]) => `${host}:${port}`);
      const serverName = service.environment?.NATS_SERVER_NAME;
      return [
        ...nodes
          .filter((other) => other.name !== name && !routes.includes(`${other.name}:${routePort}`))
          .map((other) => `${name} has no route to ${other.name}`),
        ...routes
          .filter((route) => !nodes.some((node) => route.startsWith(`${node.name}:`)))
          .map((route) => `${name} has a route to the unknown ${route}`),
        ...(serverName === name ? [] : [`${name} calls itself ${serverName}`]),
      ];
    }),
  ];
};

const natsIsConfigured: Check = (d) =>
  natsNodes(d).flatMap(({ name, service, config = '' }) => {
    const [major = 0, minor = 0] = (/^nats:(\d+)\.(\d+)/.exec(service.image ?? '') ?? []).slice(1).map(Number);
    const variables = [...config.matchAll(/\$([A-Z_]+)/g)].map(([, variable = '']) => variable);
    const store = /store_dir:\s*"([^"]+)"/.exec(config)?.[1];
    const monitor = /^http:\s*"[\d.]+:(\d+)"/m.exec(config)?.[1];
    return [
      ...(major > 2 || (major === 2 && minor >= 14) ? [] : [`${name} needs nats-server 2.14, has ${service.image}`]),
      ...variables
        .filter((variable) => service.environment?.[variable] === undefined)
        .map((variable) => `${name} does not get ${variable}`),
      ...(/^include "users\.conf"$/m.test(config) ? [] : [`${name} lets everybody in: it includes no users`]),
      ...(service.secrets ? [`${name} gets seeds, and needs none`] : []),
      ...(/sync_interval:\s*100ms/.test(config) ? [] : [`${name} does not sync every 100 ms`]),
      ...(service.volumes?.some((volume) => volume.endsWith(`:${store}`)) ? [] : [`${name} keeps ${store} on no volume`]),
      ...(service.healthcheck?.test.join(' ').includes(`127.0.0.1:${monitor}/healthz`)
        ? []
        : [`the health check of ${name} does not ask port ${monitor}`]),
    ];
  });

/** Each service has the key and the inbox of its own user, whose name is its own. */
const everyServiceIsItsOwnUser: Check = (d) =>
  ownServices(d).flatMap(([name, { environment = {}, secrets = [] }]) => {
    const [secret] = secrets;
    const file = secret && d.compose.secrets[secret.source]?.file;
    return [
      ...(name in d.natsUsers ? [] : [`${name} is no user of permissions.yaml`]),
      ...(secrets.length === 1 && file === `deploy/nats-keys/${name}.nk` ? [] : [`${name} gets the seed ${file}`]),
      ...(environment.NATS_NKEY_SEED === `/run/secrets/${secret?.target}` ? [] : [`${name} does not find its seed`]),
      ...(environment.NATS_INBOX_PREFIX === `_INBOX.${name}` ? [] : [`${name} listens on ${environment.NATS_INBOX_PREFIX}`]),
    ];
  });

const prometheusScrapesEveryService: Check = (d) => {
  const targets = d.prometheus.scrape_configs.flatMap(({ job_name, dns_sd_configs }) =>
    dns_sd_configs.flatMap(({ names, type, port }) => names.map((host) => `${job_name} ${type} ${host}:${port}`)),
  );
  const expected = SERVICES.map(({ name, defaultPort }) => `${name} A ${name}:${defaultPort}`);
  return [
    ...targets.filter((target) => !expected.includes(target)).map((target) => `unexpected target ${target}`),
    ...expected.filter((target) => !targets.includes(target)).map((target) => `missing target ${target}`),
    ...d.prometheus.scrape_configs
      .filter(({ metrics_path = '/metrics' }) => metrics_path !== '/metrics')
      .map(({ job_name }) => `${job_name} scrapes another path`),
  ];
};

/** The series that a PromQL expression reads. */
export function seriesIn(expression: string): string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '');
  return [...bare.matchAll(/[A-Za-z_:][\w:]*(?!\s*\(|[\w:])/g)].map(([name]) => name);
}

/** The labels that a PromQL expression groups by or selects on. */
export function labelsIn(expression: string): string[] {
  const groups = [...expression.matchAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(','));
  const selectors = [...expression.matchAll(/([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label = '']) => label);
  return [...new Set([...groups, ...selectors].map((label) => label.trim()))];
}

/** What Prometheus adds to every series. */
const TARGET_LABELS = ['job', 'instance'];

const dashboardsAskForExportedMetrics: Check = (d) => {
  const known = exportedSeries();
  const uids = d.datasources.datasources.map(({ uid }) => uid);
  return d.dashboards.flatMap(({ file, panels, templating }) => {
    const queries = [
      ...panels.flatMap(({ title, targets = [] }) =>
        targets.map(({ expr }) => ({ title, series: seriesIn(expr), labels: labelsIn(expr) })),
      ),
      ...templating.list.map(({ query }) => {
        const [, series = query.query, label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(query.query) ?? [];
        return { title: 'a variable', series: [series], labels: [label] };
      }),
    ];
    return [
      ...queries.filter(({ series }) => series.length === 0).map(({ title }) => `${file}: "${title}" reads no series`),
      ...queries.flatMap(({ title, series }) =>
        series.filter((name) => !known.has(name)).map((name) => `${file}: "${title}" asks for the unknown ${name}`),
      ),
      ...queries.flatMap(({ title, series, labels }) => {
        const carried = [...TARGET_LABELS, ...series.flatMap((name) => known.get(name) ?? labels)];
        return labels
          .filter((label) => !carried.includes(label))
          .map((label) => `${file}: "${title}" uses the label ${label}, which ${series} does not carry`);
      }),
      ...panels
        .filter(({ datasource }) => datasource && !uids.includes(datasource.uid))
        .map(({ title }) => `${file}: "${title}" has an unknown datasource`),
    ];
  });
};

const grafanaFindsItsFiles: Check = (d) => {
  const hosts = d.datasources.datasources.map(({ url }) => new URL(url).hostname);
  const mounts = d.compose.services.grafana?.volumes ?? [];
  return [
    ...hosts.filter((host) => d.compose.services[host] === undefined).map((host) => `a datasource names ${host}, which is no service`),
    ...['./deploy/grafana/provisioning:/etc/grafana/provisioning:ro', './deploy/grafana/dashboards:/etc/jetlane/dashboards:ro']
      .filter((mount) => !mounts.includes(mount))
      .map((mount) => `grafana does not mount ${mount}`),
  ];
};

const imageCanBeBuilt: Check = (d) => {
  const copied = [...d.dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '));
  const ignored = d.dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const scripts = [...d.dockerfile.matchAll(/npm run (\S+)/g)].map(([, script = '']) => script);
  const lastStage = d.dockerfile.slice(d.dockerfile.lastIndexOf('\nFROM '));
  return [
    ...(copied.length > 0 ? [] : ['the image copies nothing']),
    ...copied.filter((path) => !d.exists(path)).map((path) => `the image copies ${path}, which is missing`),
    ...copied.filter((path) => ignored.includes(path)).map((path) => `the image copies ${path}, which .dockerignore hides`),
    ...['.env', '**/node_modules', '.git', '.jetlane']
      .filter((path) => !ignored.includes(path))
      .map((path) => `.dockerignore does not hide ${path}`),
    ...scripts
      .filter((script) => !d.exists(/^node (\S+)/.exec(d.npmScripts[script] ?? '')?.[1] ?? '?'))
      .map((script) => `npm run ${script} does not exist`),
    ...(/^USER (?!root|0\b)\S+$/m.test(lastStage) ? [] : ['the image runs as root']),
    ...(/^ARG NODE_IMAGE=node:\d+\.\d+-\S+$/m.test(d.dockerfile) ? [] : ['the base image is not pinned to a minor version']),
    ...ownServices(d)
      .filter(([, { build }]) => !d.exists(`${build?.context}/${build?.dockerfile}`))
      .map(([name]) => `${name} is built from a missing Dockerfile`),
  ];
};

export const STACK_CHECKS = {
  natsNodesFormACluster,
  natsIsConfigured,
  everyServiceIsItsOwnUser,
  prometheusScrapesEveryService,
  dashboardsAskForExportedMetrics,
  grafanaFindsItsFiles,
  imageCanBeBuilt,
} satisfies Record<string, Check>;
