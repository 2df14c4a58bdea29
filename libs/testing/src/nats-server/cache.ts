import { copyFile, mkdir, rename } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

const BINARY = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';

/**
 * Folders that may hold a nats-server, best first: the one given, the user's cache (shared by all clones, so that the
 * second clone downloads nothing), and the temporary folder for machines where the first ones cannot be written.
 */
export function cacheDirs(given?: string): string[] {
  const dirs = given === undefined ? [] : [given];
  return [...dirs, join(userCacheDir(), 'jetlane', 'bin'), join(tmpdir(), `jetlane-${userName()}`, 'bin')];
}

/** Where a cached nats-server lies inside a cache folder. */
export function cachedBinary(dir: string): string {
  return join(dir, BINARY);
}

/** Copies a binary into the first folder that can be written; several processes may do so at once. */
export async function storeInCache(binary: string, dirs: readonly string[]): Promise<string> {
  let lastError: unknown;
  for (const dir of dirs) {
    try {
      return await copyInto(binary, dir);
    } catch (error) {
      // Read-only or full: the next folder may do.
      lastError = error;
    }
  }
  throw new Error(`none of ${dirs.join(', ')} can be written`, { cause: lastError });
}

async function copyInto(binary: string, dir: string): Promise<string> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const target = cachedBinary(dir);
  const part = `${target}.${process.pid}.part`;
  await copyFile(binary, part);
  await rename(part, target);
  return target;
}

function userCacheDir(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches');
  if (process.platform === 'win32') return LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local');
  return XDG_CACHE_HOME || join(homedir(), '.cache');
}

/** A shared temporary folder must not mix users: a binary that somebody else put there would run as us. */
function userName(): string {
  return String(process.getuid?.() ?? 'user');
}
