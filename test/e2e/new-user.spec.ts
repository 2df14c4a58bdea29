import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needsOf, type PackageManifest, packLibraries, ROOT, unpack } from '../support/packed-libraries.js';

const run = promisify(execFile);

/** What somebody with a NestJS application has, and what the examples use. */
const OWN = ['@nestjs/common', '@nestjs/core', 'reflect-metadata', 'rxjs', '@types/node'];
const FOR_EXAMPLES = ['@nestjs/microservices', '@nestjs/testing', 'zod'];
/** Packages beyond those of NestJS that `npm install @jetlane/nestjs` brings; more of them is a decision. */
const MOST_PACKAGES = 22;

/** A project of somebody else: no settings of ours, libraries are checked too. */
const TSCONFIG = {
  compilerOptions: {
    target: 'es2022',
    module: 'nodenext',
    strict: true,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    types: ['node'],
    outDir: 'dist',
    rootDir: 'src',
  },
  include: ['src'],
};

/** Runs examples on the throw-away server of the test kit; retries need a scheduler and stay out. */
const PROGRAM = `
import { stopTestServer, testServer } from '@jetlane/testing/nestjs';
const { url } = await testServer();
for (const name of ['minimal', 'batch', 'contracts', 'events', 'testing']) {
  const { main } = (await import(\`./\${name}.js\`)) as { main: (log?: (line: string) => void, options?: object) => Promise<void> };
  await main(console.log, { servers: url, namespace: 'newuser' });
}
await stopTestServer();
`;

/** What the first program of docs/nestjs.md leaves out. */
const AROUND_FIRST = `
import { Injectable, Module } from '@nestjs/common';
interface User { readonly id: string; readonly email: string }
class Mailer { async send(_to: string, _options: { readonly signal: AbortSignal }): Promise<void> {} }
`;

/** Most applications of NestJS that exist are CommonJS. */
const COMMONJS = `
import { stopTestServer, testServer } from '@jetlane/testing/nestjs';
import { main } from './minimal.js';
async function run(): Promise<void> {
  const { url } = await testServer();
  await main((line) => console.log('commonjs', typeof require, line), { servers: url, namespace: 'commonjs' });
  await stopTestServer();
}
void run();
`;

let folder: string;

/** The libraries as npm would publish them, and what they say that they need; from this repository, so that no registry is asked. */
async function install(): Promise<void> {
  const modules = join(folder, 'node_modules');
  const libraries = await packLibraries(join(folder, 'packs'));
  const published = libraries.filter(({ name }) => name !== 'postgres');
  await mkdir(modules);
  for (const library of published) await unpack(library, modules);
  const needed = new Set([...OWN, ...FOR_EXAMPLES, ...published.flatMap(({ manifest }) => needsOf(manifest))]);
  for (const name of needed) {
    if (name.startsWith('@jetlane/')) continue;
    await mkdir(join(modules, dirname(name)), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  }
}

type LockEntry = PackageManifest & { readonly link?: boolean; readonly resolved?: string };

/** Every package that installing these brings, by the lockfile. */
function closureOf(lock: Readonly<Record<string, LockEntry>>, names: readonly string[]): Set<string> {
  const found = new Set<string>();
  const visit = (from: string, name: string): void => {
    const nested = `${from}/node_modules/${name}`;
    const place = nested in lock ? nested : `node_modules/${name}`;
    const key = lock[place]?.link ? lock[place].resolved! : place;
    const entry = lock[key];
    if (!entry || found.has(key)) return;
    found.add(key);
    for (const need of needsOf(entry)) visit(key, need);
  };
  for (const name of names) visit('', name);
  return found;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-new-user-'));
  await install();
  await cp(join(ROOT, 'examples/nestjs'), join(folder, 'src'), { recursive: true });
  await writeFile(join(folder, 'src/run.ts'), PROGRAM);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'newuser', private: true, type: 'module' }));
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  const [first] = /(?<=```ts\n)import \{[\s\S]*?(?=```)/.exec(await readFile(join(ROOT, 'docs/nestjs.md'), 'utf8')) ?? [];
  await writeFile(join(folder, 'src/first.ts'), AROUND_FIRST + first);
  await mkdir(join(folder, 'commonjs/src'), { recursive: true });
  await cp(join(ROOT, 'examples/nestjs/minimal.ts'), join(folder, 'commonjs/src/minimal.ts'));
  await writeFile(join(folder, 'commonjs/src/main.ts'), COMMONJS);
  await writeFile(join(folder, 'commonjs/package.json'), JSON.stringify({ name: 'commonjs', private: true, type: 'commonjs' }));
  // The other project checks the published types; here it is their resolution that counts.
  const { compilerOptions, include } = TSCONFIG;
  await writeFile(
    join(folder, 'commonjs/tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...compilerOptions, skipLibCheck: true }, include }),
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('npm install @jetlane/nestjs', () => {
  it('brings little: what only services and health checks need is left to them', async () => {
    const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockEntry> };
    const own = closureOf(packages, OWN);
    const brought = [...closureOf(packages, ['@jetlane/nestjs'])].filter((name) => !own.has(name));
    expect(brought).toContain('libs/worker');
    expect(brought).toContain('node_modules/@nats-io/transport-node');
    expect(brought.filter((name) => /fastify|pino|terminus|opentelemetry\/(sdk|exporter)|postgres/.test(name))).toEqual([]);
    expect(brought.length).toBeLessThanOrEqual(MOST_PACKAGES);
  });
});

/** What the compiler says: nothing, when all is well. */
async function compile(project: string): Promise<string> {
  const compiler = join(ROOT, 'node_modules/typescript7/bin/tsc');
  return (await run(process.execPath, [compiler, '-p', project], { cwd: project }).catch((error: { stdout: string }) => error)).stdout;
}

describe('somebody with an empty folder and the packed libraries', () => {
  it('compiles the examples, and the first program of the docs, against the published types, and runs them', async () => {
    expect(await readFile(join(folder, 'src/first.ts'), 'utf8')).toContain('export class AppModule');
    expect(await compile(folder)).toBe('');
    const { stdout } = await run(process.execPath, ['dist/run.js'], { cwd: folder, timeout: 120_000 });
    expect(stdout).toContain('completed: sent to ada@example.org');
    expect(stdout).toContain('5 documents in one call');
    expect(stdout).toContain('of version 1: {"pixels":100}');
    expect(stdout).toContain('orders.created: invoice for order 7 over 30, attempt 2');
    expect(stdout).toContain('still there, ada?');
  });

  it('may have a CommonJS project', async () => {
    const project = join(folder, 'commonjs');
    expect(await compile(project)).toBe('');
    const { stdout } = await run(process.execPath, ['dist/main.js'], { cwd: project, timeout: 120_000 });
    expect(stdout).toContain('commonjs function completed: sent to ada@example.org');
  });
});
