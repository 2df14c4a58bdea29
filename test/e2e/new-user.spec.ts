import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { startNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Collector } from '../support/collector.js';
import { needsOf, type PackageManifest, packLibraries, ROOT, unpack } from '../support/packed-libraries.js';
import { eventually } from '../support/wait-until.js';

const run = promisify(execFile);

/** What somebody with a NestJS application has, and what the examples use. */
const OWN = ['@nestjs/common', '@nestjs/core', 'reflect-metadata', 'rxjs', '@types/node'];
const FOR_EXAMPLES = ['@nestjs/microservices', '@nestjs/testing', 'zod'];
/** What the page on NestJS has one install for traces. */
const FOR_TRACES = ['@opentelemetry/exporter-trace-otlp-http', '@opentelemetry/resources', '@opentelemetry/sdk-trace-node'];
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

const EXAMPLES = ['minimal', 'priorities', 'retries-and-dead-letters', 'graceful-shutdown', 'batch', 'contracts', 'events', 'testing'];

/** Runs the examples on the throw-away server of the test kit, each in a namespace of its own. */
const PROGRAM = `
import { stopTestServer, testServer } from '@jetlane/testing/nestjs';
const { url } = await testServer();
for (const name of ${JSON.stringify(EXAMPLES)}) {
  const { main } = (await import(\`./\${name}.js\`)) as { main: (log?: (line: string) => void, options?: object) => Promise<void> };
  await main(console.log, { servers: url, namespace: \`newuser-\${name}\` });
}
await stopTestServer();
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

/** What the page says that its first program says. */
const PROMISED = [
  '[Mailer] welcome, by lane high at attempt 1, to ada@example.org',
  '[main] the payload does not fit task type "welcome" of queue "email": to: Invalid email address',
];

let folder: string;

/** The libraries as npm would publish them, and what they say that they need; from this repository, so that no registry is asked. */
async function install(): Promise<void> {
  const modules = join(folder, 'node_modules');
  const libraries = await packLibraries(join(folder, 'packs'));
  const published = libraries.filter(({ name }) => name !== 'postgres');
  await mkdir(modules);
  for (const library of published) await unpack(library, modules);
  const needed = new Set([...OWN, ...FOR_EXAMPLES, ...FOR_TRACES, ...published.flatMap(({ manifest }) => needsOf(manifest))]);
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

/** The first TypeScript below a heading of a page. */
function codeAfter(page: string, heading: string): string {
  const [, code] = /```ts\n([\s\S]*?)```/.exec(page.slice(page.indexOf(`${heading}\n`))) ?? [];
  if (!code) throw new Error(`no program below "${heading}"`);
  return code;
}

/** Libraries whose README begins with a program. */
const READMES = ['client', 'worker', 'batching', 'nestjs', 'testing'];

/** They name the server that a reader has; here each run has one of its own. */
async function writeReadmes(): Promise<void> {
  await mkdir(join(folder, 'src/readme'));
  for (const name of READMES) {
    const code = codeAfter(await readFile(join(ROOT, 'libs', name, 'README.md'), 'utf8'), `# @jetlane/${name}`);
    await writeFile(join(folder, `src/readme/${name}.ts`), code.replaceAll(`'nats://127.0.0.1:4222'`, 'process.env.NATS_URL!'));
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-new-user-'));
  await install();
  await cp(join(ROOT, 'examples/nestjs'), join(folder, 'src'), { recursive: true });
  await writeFile(join(folder, 'src/run.ts'), PROGRAM);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'newuser', private: true, type: 'module' }));
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  const page = await readFile(join(ROOT, 'docs/nestjs.md'), 'utf8');
  await writeFile(join(folder, 'src/main.ts'), codeAfter(page, '\n## The first handler'));
  await writeFile(join(folder, 'src/tracing.ts'), codeAfter(page, '\n## Tracing'));
  await writeReadmes();
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
  beforeAll(async () => {
    expect(await compile(folder)).toBe('');
  });

  it('runs the examples', async () => {
    const { stdout } = await run(process.execPath, ['dist/run.js'], { cwd: folder, timeout: 120_000 });
    expect(stdout).toContain('completed: sent to ada@example.org');
    expect(stdout).toMatch(/critical: evacuation plan\nhigh: boarding pass\nnormal: report\nlow: newsletter/);
    expect(stdout).toContain('good: completed, charged at attempt 3');
    expect(stdout).toContain('dead (fatal): the card is stolen');
    expect(stdout).toContain('first has ended\nsecond took the long one over\nthe long one is completed');
    expect(stdout).toContain('5 documents in one call');
    expect(stdout).toContain('of version 1: {"pixels":100}');
    expect(stdout).toContain('orders.created: invoice for order 7 over 30, attempt 2');
    expect(stdout).toContain('still there, ada?');
  });

  it('runs the first program of the page as it stands there: prioritised, validated, traced, and ended by a signal', async () => {
    const server = await startNatsServer();
    const collector = await Collector.start();
    const env = { NATS_URL: server.url, NO_COLOR: '1', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '100' };
    const program = spawn(process.execPath, ['--import', './dist/tracing.js', 'dist/main.js'], { cwd: folder, env });
    let output = '';
    for (const stream of [program.stdout, program.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += String(chunk);
      });
    }
    try {
      const exited = once(program, 'exit');
      const said = () => PROMISED.every((line) => output.includes(line));
      await eventually('it says what the page says', said, { timeoutMs: 60_000 }).catch((error: Error) => {
        throw new Error(`${error.message}: ${output}`);
      });
      const named = (name: string) => collector.spans.find((span) => span.service === 'signup' && span.name === name);
      await eventually('its spans are exported', () => Boolean(named('send email') && named('process email')), { timeoutMs: 20_000 });
      expect(named('process email')).toMatchObject({ traceId: named('send email')!.traceId, parentSpanId: named('send email')!.spanId });
      program.kill('SIGTERM');
      expect(await exited).toEqual([null, 'SIGTERM']);
      expect(output).not.toContain('ERROR');
    } finally {
      program.kill('SIGKILL');
      await Promise.all([collector.stop(), server.stop()]);
    }
  });

  it('runs what the READMEs show, as it stands there', async () => {
    const server = await startNatsServer();
    const env = { ...process.env, NATS_URL: server.url };
    const worker = spawn(process.execPath, ['dist/readme/worker.js'], { cwd: folder, env, stdio: ['ignore', 'inherit', 'inherit'] });
    const said = async (name: string) =>
      (await run(process.execPath, [`dist/readme/${name}.js`], { cwd: folder, env, timeout: 60_000 })).stdout;
    try {
      const exited = once(worker, 'exit');
      expect(await Promise.all([said('client'), said('batching'), said('testing')])).toEqual([
        'completed sent to ada@example.org by lane high\n',
        '2 mails in one call\n',
        'sent to ada\n',
      ]);
      worker.kill('SIGTERM');
      expect(await exited).toEqual([0, null]);
    } finally {
      worker.kill('SIGKILL');
      await server.stop();
    }
  });

  it('may have a CommonJS project', async () => {
    const project = join(folder, 'commonjs');
    expect(await compile(project)).toBe('');
    const { stdout } = await run(process.execPath, ['dist/main.js'], { cwd: project, timeout: 120_000 });
    expect(stdout).toContain('commonjs function completed: sent to ada@example.org');
  });
});
