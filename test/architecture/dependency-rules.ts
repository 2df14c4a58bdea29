import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CONFIG = join(ROOT, '.dependency-cruiser.cjs');
const CLI = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');

/** One breach of one rule, and where. */
export interface Violation {
  readonly rule: string;
  readonly from: string;
  readonly to: string;
}

export interface CruiseReport {
  readonly violations: readonly Violation[];
  readonly modules: readonly string[];
}

interface CruiseJson {
  readonly modules: readonly { readonly source: string }[];
  readonly summary: {
    readonly violations: readonly { readonly rule: { readonly name: string }; readonly from: string; readonly to: string }[];
  };
}

/** Runs the checker with the repository's own configuration on the tree at `root`. */
export async function cruise(root: string, folders: readonly string[]): Promise<CruiseReport> {
  const stdout = await new Promise<string>((resolve, reject) => {
    const args = [CLI, '--config', CONFIG, '--output-type', 'json', ...folders];
    // The json report exits with the number of violations, so only a missing report is a failure.
    execFile(process.execPath, args, { cwd: root, maxBuffer: 1 << 28 }, (error, out, err) =>
      out.startsWith('{') ? resolve(out) : reject(new Error(`the dependency checker failed: ${err || error?.message}`)),
    );
  });
  const report = JSON.parse(stdout) as CruiseJson;
  return {
    violations: report.summary.violations.map(({ rule, from, to }) => ({ rule: rule.name, from, to })),
    modules: report.modules.map((module) => module.source),
  };
}

/** A file that breaks `rule`, or, with `rule: undefined`, one that must pass. */
export interface Fixture {
  readonly rule: string | undefined;
  readonly file: string;
  readonly source: string;
}

const STUB_PACKAGES = ['@nats-io/jetstream', '@nestjs/common', 'zod', 'pg'];

/** A small copy of the repository's layout: real manifests, empty libraries, stub packages, and the fixtures. */
export async function fixtureTree(fixtures: readonly Fixture[]): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'jetlane-rules-'));
  const put = async (path: string, content: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
  await put('package.json', await readFile(join(ROOT, 'package.json'), 'utf8'));
  for (const name of STUB_PACKAGES) {
    await put(`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', main: 'index.js' }));
    await put(`node_modules/${name}/index.js`, 'module.exports = {};');
  }
  await mkdir(join(root, 'node_modules/@jetlane'));
  for (const group of ['libs', 'apps']) {
    for (const name of await readdir(join(ROOT, group))) {
      const manifest = await readFile(join(ROOT, group, name, 'package.json'), 'utf8').catch(() => undefined);
      if (manifest === undefined) continue;
      await put(`${group}/${name}/package.json`, manifest);
      await put(`${group}/${name}/src/${group === 'libs' ? 'index' : 'main'}.ts`, 'export const present = true;\n');
      const packageName = (JSON.parse(manifest) as { name: string }).name;
      await symlink(join('../../', group, name), join(root, 'node_modules', packageName));
    }
  }
  for (const { file, source } of fixtures) await put(file, source);
  return root;
}
