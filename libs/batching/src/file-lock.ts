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
  const pathOf = (owner: string) => join(directory, `${key}.lock@${owner}`);
  const locked = (owner: string) => {
    const message = `${join(directory, key)} is held by "${owner}"; one at a time. If that one is surely gone, delete ${pathOf(owner)}`;
    return new BatchingError('storage-locked', message, { owner });
  };
  await writeFile(pathOf(OWN), '', { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? locked(OWN) : error;
  });
  const names = (await readdir(directory)).filter((name) => name.startsWith(`${key}.lock@`) && !name.endsWith(OWN));
  for (const owner of names.map((name) => name.slice(`${key}.lock@`.length))) {
    const lives = isAlive(owner);
    await rm(pathOf(lives ? OWN : owner), { force: true });
    if (lives) throw locked(owner);
  }
  return () => rm(pathOf(OWN), { force: true });
}

function isAlive(owner: string): boolean {
  const [host, pid] = owner.split('@');
  if (host !== hostname() || Number(pid) === process.pid) return host !== hostname();
  try {
    return process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
