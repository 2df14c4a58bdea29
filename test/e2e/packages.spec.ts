import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { Application, Logger, LogLevel } from 'typedoc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { entryPoints } from '../architecture/public-symbols.js';
import { type PackedLibrary, packLibraries, ROOT } from '../support/packed-libraries.js';

/** Resolutions that an ES module package promises nothing about: they can only be told to use `import()`. */
const NOT_PROMISED: readonly string[] = ['node10', 'node16-cjs'];

let folder: string;
let libraries: PackedLibrary[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-packages-'));
  libraries = await packLibraries(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('every published library', () => {
  it('is what publint wants of a package', async () => {
    expect(libraries.length).toBeGreaterThan(8);
    for (const { tarball, manifest } of libraries) {
      const { messages } = await publint({ pack: { tarball: new Uint8Array(await readFile(tarball)).buffer }, strict: true });
      expect(
        messages.map((message) => formatMessage(message, manifest as never)),
        manifest.name,
      ).toEqual([]);
    }
  });

  it('has a page for the registry, which names it', async () => {
    for (const { tarball, manifest } of libraries) {
      const packed = createPackageFromTarballData(await readFile(tarball));
      expect(packed.readFile(`/node_modules/${manifest.name}/README.md`)).toContain(`# ${manifest.name}\n`);
    }
  });

  it('has types that say what its modules are, for every entry point', async () => {
    for (const { tarball, manifest } of libraries) {
      const analysis = await checkPackage(createPackageFromTarballData(await readFile(tarball)));
      if (!analysis.types) throw new Error(`${manifest.name} has no types`);
      const problems = analysis.problems.filter(
        (problem) => !('resolutionKind' in problem) || !NOT_PROMISED.includes(problem.resolutionKind),
      );
      expect(problems, manifest.name).toEqual([]);
    }
  });
});

class KeepingLogger extends Logger {
  readonly told: string[] = [];

  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) this.told.push(message);
  }
}

/** TypeDoc reads all libraries as one program, with the options of `npm run docs:api`, which reads each by itself and takes three times as long. */
async function openTypedoc(): Promise<Application> {
  const files = entryPoints(ROOT).map((file) => join(ROOT, file));
  const { packageOptions } = JSON.parse(await readFile(join(ROOT, 'typedoc.json'), 'utf8')) as { packageOptions: object };
  const compilerOptions = {
    ...{ customConditions: ['jetlane-source'], typeRoots: [join(ROOT, 'node_modules/@types')], rootDir: ROOT },
    ...{ composite: false, incremental: false },
  };
  const tsconfig = join(folder, 'tsconfig.json');
  await writeFile(tsconfig, JSON.stringify({ extends: join(ROOT, 'tsconfig.base.json'), compilerOptions, files }));
  return Application.bootstrap({ ...packageOptions, entryPointStrategy: 'resolve', entryPoints: files, tsconfig, logLevel: 'None' });
}

describe('the API reference', () => {
  it('can be made of every library, and its links lead somewhere', async () => {
    const typedoc = await openTypedoc();
    const logger = new KeepingLogger();
    typedoc.logger = logger;
    const project = await typedoc.convert();
    typedoc.validate(project!);
    expect(logger.told).toEqual([]);
    expect(project!.children!.length).toBe(entryPoints(ROOT).length);
  }, 300_000);
});
