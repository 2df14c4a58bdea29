import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse } from 'yaml';

export interface ComposeService {
  image?: string;
  build?: { context: string; dockerfile: string };
  command?: string[];
  environment?: Record<string, string | number>;
  ports?: string[];
  expose?: string[];
  volumes?: string[];
  secrets?: { source: string; target: string }[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[]; interval?: string; timeout?: string; retries?: number };
  restart?: string;
  init?: boolean;
  stop_grace_period?: string;
}

export interface Dashboard {
  file: string;
  panels: { title: string; datasource?: { uid: string }; targets?: { expr: string }[] }[];
  templating: { list: { query: { query: string } }[] };
}

/** The part of a service's configuration that the deployment relies on, or why it refuses to start. */
export type Settings = { name: string; host: string; port: number; portVariable: string } | { refused: string };

/** Everything under deploy/ and around it, parsed; the checks look at nothing else, so a test can break a copy of it. */
export interface Deployment {
  compose: { services: Record<string, ComposeService>; volumes: Record<string, unknown>; secrets: Record<string, { file: string }> };
  composeText: string;
  envExample: string;
  /** docs/configuration.md */
  configuration: string;
  dockerfile: string;
  dockerignore: string;
  natsConfigs: Record<string, string>;
  /** Users of deploy/nats/permissions.yaml, with their roles. */
  natsUsers: Record<string, string>;
  prometheus: {
    scrape_configs: { job_name: string; metrics_path?: string; dns_sd_configs: { names: string[]; type: string; port: number }[] }[];
  };
  datasources: { datasources: { uid: string; url: string }[] };
  dashboards: Dashboard[];
  npmScripts: Record<string, string>;
  /** Folders of apps/. */
  apps: string[];
  /** What each application makes of the environment that compose gives it. */
  settings: Record<string, Settings>;
  /** Text of the configuration modules: `apps/gateway/src/config.ts` → text. */
  configModules: Record<string, string>;
  exists(path: string): boolean;
}

export async function loadDeployment(root: string): Promise<Deployment> {
  const text = (path: string): Promise<string> => readFile(join(root, path), 'utf8');
  const yaml = async <T>(path: string): Promise<T> => parse(await text(path), { merge: true }) as T;
  const files = async (folder: string): Promise<string[]> => (await readdir(join(root, folder))).map((name) => `${folder}/${name}`);
  const texts = async (paths: readonly string[]): Promise<Record<string, string>> =>
    Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await text(path)] as const)));
  const compose = await yaml<Deployment['compose']>('docker-compose.yml');
  return {
    compose,
    composeText: await text('docker-compose.yml'),
    envExample: await text('.env.example'),
    configuration: await text('docs/configuration.md'),
    dockerfile: await text('deploy/docker/Dockerfile'),
    dockerignore: await text('.dockerignore'),
    natsConfigs: await texts(await files('deploy/nats')),
    natsUsers: (await yaml<{ users: Record<string, string> }>('deploy/nats/permissions.yaml')).users,
    prometheus: await yaml('deploy/prometheus/prometheus.yml'),
    datasources: await yaml('deploy/grafana/provisioning/datasources/datasources.yml'),
    dashboards: await Promise.all(
      (await files('deploy/grafana/dashboards')).map(async (file) => ({ ...(JSON.parse(await text(file)) as Dashboard), file })),
    ),
    npmScripts: (JSON.parse(await text('package.json')) as { scripts: Record<string, string> }).scripts,
    apps: await readdir(join(root, 'apps')),
    settings: await readSettings(root, compose.services),
    configModules: await texts(await findConfigModules(root)),
    exists: (path) => existsSync(join(root, path)),
  };
}

async function findConfigModules(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const group of ['libs', 'apps']) {
    for (const name of await readdir(join(root, group))) {
      const src = `${group}/${name}/src`;
      const names = await readdir(join(root, src), { recursive: true }).catch(() => []);
      found.push(...names.map((path) => `${src}/${path.replaceAll('\\', '/')}`).filter((path) => path.endsWith('/config.ts')));
    }
  }
  return found;
}

async function readSettings(root: string, services: Record<string, ComposeService>): Promise<Record<string, Settings>> {
  const own = Object.entries(services).filter(([, { build }]) => build !== undefined);
  return Object.fromEntries(
    await Promise.all(
      own.map(async ([name, { environment }]) => [name, await settingsOf(root, name, insideContainer(environment))] as const),
    ),
  );
}

/** The environment as the container sees it, with any value for the secrets. */
export function insideContainer(environment: ComposeService['environment'] = {}): Record<string, string> {
  const value = (text: string): string =>
    text.replaceAll(/\$\{\w+(?::-([^}]*)|:\?[^}]*)\}/g, (_, fallback?: string) => fallback ?? 'secret');
  return Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, value(String(text))]));
}

async function settingsOf(root: string, app: string, environment: Record<string, string>): Promise<Settings> {
  try {
    const path = join(root, 'apps', app, 'src/config.ts');
    const module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
    const reader = Object.entries(module).find(([name, value]) => /[cC]onfig$/.test(name) && typeof value === 'function')?.[1];
    if (reader === undefined) return { refused: 'config.ts exports no function …Config' };
    const { name, host, port, portVariable } = withEnvironment(environment, reader as () => Exclude<Settings, { refused: string }>);
    return { name, host, port, portVariable };
  } catch (error) {
    return { refused: (error as Error).message };
  }
}

/** Runs `read` with nothing but `environment` in process.env. `read` must not wait for anything. */
function withEnvironment<T>(environment: Record<string, string>, read: () => T): T {
  const before = process.env;
  process.env = { ...environment };
  try {
    return read();
  } finally {
    process.env = before;
  }
}
