import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve as resolvePath } from 'node:path';
import { LaunchError, reasonOf } from '../errors.js';
import { fetchFromAptMirror } from './apt-mirror.js';
import { cacheDirs, cachedBinary, storeInCache } from './cache.js';
import { downloadRelease, type ReleaseOptions } from './release.js';
import { isAtLeast, MINIMUM_NATS_VERSION, versionOf } from './version.js';

/** Where a nats-server came from. */
export type NatsServerSource = 'NATS_SERVER_BIN' | 'PATH' | 'cache' | 'release' | 'apt mirror';

/** A nats-server that can be run. */
export interface NatsServerBinary {
  path: string;
  version: string;
  source: NatsServerSource;
}

/** How to look for a nats-server. */
export interface ResolveOptions {
  /** Told what is going on, one line each, only when something has to be fetched. */
  log?: (line: string) => void;
  /** Preferred cache folder. Default: the user's cache folder, see `cacheDirs`. */
  cacheDir?: string;
  /** Default `process.env`; NATS_SERVER_BIN and PATH are read from it. */
  env?: NodeJS.ProcessEnv;
  /** How a release is downloaded. Default: the official one that Jetlane was tested with. */
  release?: ReleaseOptions;
  /** Where to look, in this order. Default: everywhere. */
  sources?: readonly NatsServerSource[];
}

const SOURCES: readonly NatsServerSource[] = ['NATS_SERVER_BIN', 'PATH', 'cache', 'release', 'apt mirror'];
const INSTALL_HINT =
  'Install nats-server yourself (see nats.io, "brew install nats-server", or a package of your system) and put it on PATH or set NATS_SERVER_BIN; or set NATS_URL to a server that runs already.';

/**
 * Finds a nats-server of at least {@link MINIMUM_NATS_VERSION}, fetching one when there is none: NATS_SERVER_BIN, then
 * PATH, then the cache, then the official release (checksum verified), then the Debian mirror that apt is configured for.
 *
 * @throws LaunchError `nats-server-too-old` when NATS_SERVER_BIN itself is too old: a choice made on purpose is not overruled.
 * @throws LaunchError `nats-server-not-found` with everything that was tried.
 */
export async function resolveNatsServer(options: ResolveOptions = {}): Promise<NatsServerBinary> {
  const tried: string[] = [];
  for (const source of options.sources ?? SOURCES) {
    try {
      const found = await look(source, options);
      if (found !== undefined) return found;
    } catch (error) {
      if (source === 'NATS_SERVER_BIN') throw error;
      tried.push(`${source}: ${reasonOf(error)}`);
    }
  }
  const list = tried.map((line) => `\n  - ${line}`).join('');
  const message = `No nats-server ${MINIMUM_NATS_VERSION} or newer could be found or fetched.${list}\n${INSTALL_HINT}`;
  throw new LaunchError('nats-server-not-found', message, { retryable: true, details: { tried, minimum: MINIMUM_NATS_VERSION } });
}

function look(source: NatsServerSource, options: ResolveOptions): Promise<NatsServerBinary | undefined> {
  const env = options.env ?? process.env;
  switch (source) {
    case 'NATS_SERVER_BIN':
      return env.NATS_SERVER_BIN ? chosenByHand(env.NATS_SERVER_BIN) : Promise.resolve(undefined);
    case 'PATH':
      return onPath(env.PATH ?? '');
    case 'cache':
      return inCache(cacheDirs(options.cacheDir));
    case 'release':
      return fetched(source, (dir) => downloadRelease(dir, options.release), options);
    case 'apt mirror':
      return fetched(source, fetchFromAptMirror, options);
  }
}

async function chosenByHand(value: string): Promise<NatsServerBinary> {
  const path = resolvePath(value);
  const version = await versionOf(path).catch((cause: unknown) => {
    const message = `NATS_SERVER_BIN is ${path}, which does not run as a nats-server (${reasonOf(cause)}). Correct it, or unset it to let Jetlane look for one.`;
    throw new LaunchError('nats-server-not-found', message, { cause, details: { path } });
  });
  if (!isAtLeast(version, MINIMUM_NATS_VERSION)) {
    const message = `NATS_SERVER_BIN is nats-server ${version} (${path}), but Jetlane needs ${MINIMUM_NATS_VERSION} or newer. Update it, or unset NATS_SERVER_BIN to let Jetlane fetch one.`;
    throw new LaunchError('nats-server-too-old', message, { details: { path, version, minimum: MINIMUM_NATS_VERSION } });
  }
  return { path, version, source: 'NATS_SERVER_BIN' };
}

async function onPath(path: string): Promise<NatsServerBinary> {
  const name = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';
  const candidates = path
    .split(delimiter)
    .filter(Boolean)
    .map((dir) => join(dir, name));
  return firstGood('PATH', candidates, 'there is none on PATH');
}

async function inCache(dirs: readonly string[]): Promise<NatsServerBinary> {
  return firstGood('cache', dirs.map(cachedBinary), `nothing in ${dirs.join(', ')}`);
}

/** The first candidate that runs and is new enough; else an error that says the most telling reason. */
async function firstGood(source: NatsServerSource, candidates: readonly string[], nothing: string): Promise<NatsServerBinary> {
  let reason = nothing;
  for (const path of candidates) {
    if (!(await isOurFile(path))) continue;
    try {
      const version = await versionOf(path);
      if (isAtLeast(version, MINIMUM_NATS_VERSION)) return { path, version, source };
      reason = `${path} is ${version}, too old`;
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  throw new Error(reason);
}

/** Whether a file is there that nobody but us, root or whoever owns PATH's folders could have put there. */
async function isOurFile(path: string): Promise<boolean> {
  try {
    const { uid, mode } = await stat(path);
    const inTemp = path.startsWith(tmpdir());
    const foreign = inTemp && process.getuid !== undefined && uid !== process.getuid();
    return !foreign && (process.platform === 'win32' || (mode & 0o111) !== 0);
  } catch {
    return false;
  }
}

async function fetched(
  source: NatsServerSource,
  fetchInto: (dir: string) => Promise<string>,
  options: ResolveOptions,
): Promise<NatsServerBinary> {
  const where = source === 'release' ? 'its official release' : "this machine's Debian mirror";
  options.log?.(`No nats-server here yet: trying ${where}`);
  const work = await mkdtemp(join(tmpdir(), 'jetlane-nats-'));
  try {
    const binary = await fetchInto(work);
    await chmod(binary, 0o755);
    const version = await versionOf(binary);
    if (!isAtLeast(version, MINIMUM_NATS_VERSION)) throw new Error(`it has ${version}, older than ${MINIMUM_NATS_VERSION}`);
    return { path: await storeInCache(binary, cacheDirs(options.cacheDir)), version, source };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
