import { randomUUID } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { BatchingError } from './errors.js';

/** Host, process, and which of the processes that had this number one after the other, as in containers. */
const OWN = [hostname(), process.pid, randomUUID()].join('@');

/**
 * Locks a key of a directory for one queue. Each puts its own mark there and then looks for others: of two that start at once none misses
 * the other. A mark whose process is gone is removed; one of another host is not, since nobody can tell.
 * @returns how to unlock
 * @throws BatchingError `storage-locked`
 */
export async function lock(directory: string, key: string): Promise<() => Promise<void>> {
  const prefix = `${key}.lock@`;
  const locked = (owner: string) => {
    const message = `${join(directory, key)} is held by "${owner}"; one at a time. If that one is surely gone, delete ${prefix}${owner}`;
    return new BatchingError('storage-locked', message, { owner });
  };
  const own = join(directory, prefix + OWN);
  await writeFile(own, '', { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? locked(OWN) : error;
  });
  const unlock = () => rm(own, { force: true });
  for (const name of await readdir(directory)) {
    const owner = name.slice(prefix.length);
    if (!name.startsWith(prefix) || owner === OWN) continue;
    if (!lives(owner)) await rm(join(directory, name), { force: true });
    else {
      await unlock();
      throw locked(owner);
    }
  }
  return unlock;
}

function lives(owner: string): boolean {
  const [host, pid] = owner.split('@');
  if (host !== hostname() || Number(pid) === process.pid) return host !== hostname();
  try {
    return process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
