import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { BatchingError } from './errors.js';

/** Locks of this process: its own number in a lock file may also be that of a process long gone, as in containers. */
const held = new Set<string>();

/**
 * Locks for one process. A lock whose process is gone is taken over; one of another host is not, since nobody can tell.
 * @returns how to unlock
 * @throws BatchingError `storage-locked`
 */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const own = `${hostname()} ${process.pid}`;
  for (let round = 0; round < 10; round++) {
    if (held.has(path)) throw locked(path, 'this process');
    held.add(path);
    try {
      await writeFile(path, own, { flag: 'wx', flush: true });
      return async () => {
        await rm(path, { force: true });
        held.delete(path);
      };
    } catch (error) {
      held.delete(path);
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = await readFile(path, 'utf8').catch(() => undefined);
    if (owner !== undefined && lives(owner)) throw locked(path, owner);
    if (owner !== undefined) await putAside(path, owner);
  }
  throw locked(path, 'several processes that start at once');
}

function lives(owner: string): boolean {
  const [host, pid] = owner.split(' ');
  if (host !== hostname()) return host !== '';
  if (Number(pid) === process.pid) return false;
  try {
    return process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Of several that find the same dead lock one moves it; whoever moved a newer one by mistake puts it back. */
async function putAside(path: string, owner: string): Promise<void> {
  const aside = `${path}.${process.pid}`;
  await rename(path, aside).catch(() => undefined);
  const moved = await readFile(aside, 'utf8').catch(() => undefined);
  if (moved !== undefined && moved !== owner) await rename(aside, path);
  else await rm(aside, { force: true });
}

const locked = (path: string, owner: string) =>
  new BatchingError('storage-locked', `${path} is held by "${owner}"; one process at a time. If that one is surely gone, delete the file`, {
    owner,
  });
