import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from './dependency-rules.js';
import { type Finding, MAX_LINES, readSources, type SourceFile, scan } from './source-scan.js';

interface Manifest {
  readonly name: string;
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

/** The names that the product code of this file's package may import, or undefined where the rule does not apply. */
async function declaredFor(path: string): Promise<ReadonlySet<string> | undefined> {
  const [, folder] = /^((?:libs|apps)\/[^/]+)\/src\//.exec(path) ?? [];
  if (folder === undefined || /\.spec\.tsx?$/.test(path)) return undefined;
  const manifest = JSON.parse(await readFile(join(ROOT, folder, 'package.json'), 'utf8').catch(() => '{"name":""}')) as Manifest;
  return new Set([
    manifest.name,
    ...Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.peerDependencies }),
  ]);
}

describe('sources', () => {
  let sources: SourceFile[];
  let findings: Finding[];

  beforeAll(async () => {
    sources = await readSources(ROOT, ['libs', 'apps', 'test', 'scripts']);
    findings = (await Promise.all(sources.map(async (file) => scan(file, await declaredFor(file.path))))).flat();
  }, 60_000);

  const of = (check: Finding['check']): Finding[] => findings.filter((finding) => finding.check === check);

  it('are found at all', () => {
    expect(sources.length).toBeGreaterThan(50);
  });

  it('read process.env only in files named config.ts', () => {
    expect(of('environment')).toEqual([]);
  });

  it('have no `any`', () => {
    expect(of('any')).toEqual([]);
  });

  it('have no focused test', () => {
    expect(of('only')).toEqual([]);
  });

  it('have no marks of unfinished work', () => {
    expect(of('mark')).toEqual([]);
  });

  it(`have at most ${MAX_LINES} lines each`, () => {
    expect(of('length')).toEqual([]);
  });

  it('purge a stream in one place, where no consumer has anything in hand', () => {
    const product = sources.filter(({ path }) => /^(?:libs|apps)\/[^/]+\/src\//.test(path));
    expect(product.filter(({ text }) => /\bstreams\.purge\(|STREAM\.PURGE/.test(text)).map(({ path }) => path)).toEqual([
      'libs/jetstream/src/stored.ts',
    ]);
  });

  it('import only packages that their own package.json declares', () => {
    expect(of('undeclared')).toEqual([]);
  });
});

describe('the source scan', () => {
  const checks = (text: string, path = 'libs/worker/src/x.ts'): string[] =>
    scan({ path, text }, new Set(['zod', '@jetlane/protocol'])).map((finding) => finding.check);

  it.each([
    ['environment', 'const port = process.env.PORT;'],
    ['environment', 'const port = globalThis.process.env;'],
    ['environment', "const port = process['env'].PORT;"],
    ['environment', 'const { env } = process;'],
    ['environment', 'const { env: settings } = process;'],
    ['environment', "import { env } from 'node:process';"],
    ['any', 'function f(x: any): void {}'],
    ['any', 'const list: Array<any> = [];'],
    ['any', 'const x = y as any;'],
    ['only', "it.only('x', () => {});"],
    ['only', "describe.only.each([1])('x', () => {});"],
    ['mark', `// ${'TO'}${'DO'}: later`],
    ['length', '\n'.repeat(MAX_LINES).concat('export {};')],
    ['undeclared', "import { z } from 'pg';"],
    ['undeclared', "export * from '@jetlane/worker';"],
    ['undeclared', "const late = await import('pg/lib/x');"],
  ])('finds %s in %j', (check, text) => {
    expect(checks(text)).toEqual([check]);
  });

  it.each([
    'const anything = "any"; // any',
    'const only = queue.only;',
    'const { env } = options;',
    "import { z } from 'zod'; import { t } from '@jetlane/protocol'; import { x } from './x.js'; import fs from 'node:fs';",
  ])('accepts %j', (text) => {
    expect(checks(text)).toEqual([]);
  });

  it.each([
    'apps/gateway/src/config.ts',
    'libs/nestjs/src/service/config.ts',
    'libs/testing/src/launch.ts',
    'scripts/start.mjs',
    'libs/worker/src/x.spec.ts',
  ])('lets %s read the environment', (path) => {
    expect(checks('const port = process.env.PORT;', path)).toEqual([]);
  });
});
