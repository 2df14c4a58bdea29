import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PackedLibrary, packLibraries } from '../support/packed-libraries.js';

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
