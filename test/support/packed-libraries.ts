import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The folder of this repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What a package.json says, as far as tests of packages want to know. */
export interface PackageManifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

/** A library as npm would publish it. */
export interface PackedLibrary {
  readonly name: string;
  readonly tarball: string;
  readonly manifest: PackageManifest;
}

/** Packs every library into a folder; they must have been built. */
export async function packLibraries(folder: string): Promise<PackedLibrary[]> {
  await mkdir(folder, { recursive: true });
  const names = await readdir(join(ROOT, 'libs'));
  const workspaces = names.flatMap((name) => ['-w', `libs/${name}`]);
  await run('npm', ['pack', ...workspaces, '--pack-destination', folder, '--silent'], { cwd: ROOT });
  const tarballs = await readdir(folder);
  return Promise.all(
    names.map(async (name) => {
      const manifest = JSON.parse(await readFile(join(ROOT, 'libs', name, 'package.json'), 'utf8')) as PackageManifest;
      const tarball = tarballs.find((file) => new RegExp(`^jetlane-${name}-\\d`).test(file));
      if (!tarball) throw new Error(`npm packed no ${manifest.name}; it packed ${tarballs.join(', ')}`);
      return { name, tarball: join(folder, tarball), manifest };
    }),
  );
}

/** Unpacks a library below `node_modules`. */
export async function unpack({ manifest, tarball }: PackedLibrary, modules: string): Promise<void> {
  const target = join(modules, manifest.name);
  await mkdir(target, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', target, '--strip-components=1']);
}

/** What has to be installed beside a package: its dependencies, and its peers unless they are optional. */
export function needsOf({ dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} }: PackageManifest): string[] {
  return [...Object.keys(dependencies), ...Object.keys(peerDependencies).filter((name) => !peerDependenciesMeta[name]?.optional)];
}
