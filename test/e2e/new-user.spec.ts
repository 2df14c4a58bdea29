import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LIBRARIES = ['protocol', 'jetstream', 'telemetry', 'client', 'worker', 'batching', 'nestjs', 'testing'];

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

let folder: string;

/** The libraries as npm would publish them; all else from this repository, so that no registry is asked. */
async function install(): Promise<void> {
  const packs = join(folder, 'packs');
  const modules = join(folder, 'node_modules');
  await mkdir(packs, { recursive: true });
  await mkdir(modules);
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (name !== '@jetlane' && !name.startsWith('.')) await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  }
  const workspaces = LIBRARIES.flatMap((name) => ['-w', `libs/${name}`]);
  await run('npm', ['pack', ...workspaces, '--pack-destination', packs, '--silent'], { cwd: ROOT });
  for (const pack of await readdir(packs)) {
    const target = join(modules, '@jetlane', pack.replace(/^jetlane-|-[\d.]+\.tgz$/g, ''));
    await mkdir(target, { recursive: true });
    await run('tar', ['-xzf', join(packs, pack), '-C', target, '--strip-components=1']);
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-new-user-'));
  await install();
  await cp(join(ROOT, 'examples/nestjs'), join(folder, 'src'), { recursive: true });
  await writeFile(join(folder, 'src/run.ts'), PROGRAM);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'newuser', private: true, type: 'module' }));
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('somebody with an empty folder and the packed libraries', () => {
  it('compiles the examples against the published types, and runs them', async () => {
    const compiler = join(ROOT, 'node_modules/typescript7/bin/tsc');
    const compiled = await run(process.execPath, [compiler, '-p', folder], { cwd: folder }).catch((error: { stdout: string }) => error);
    expect(compiled.stdout).toBe('');
    const { stdout } = await run(process.execPath, ['dist/run.js'], { cwd: folder, timeout: 60_000 });
    expect(stdout).toContain('completed: sent to ada@example.org');
    expect(stdout).toContain('5 documents in one call');
    expect(stdout).toContain('of version 1: {"pixels":100}');
    expect(stdout).toContain('orders.created: invoice for order 7 over 30, attempt 2');
    expect(stdout).toContain('still there, ada?');
  });
});
