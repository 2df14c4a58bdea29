import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { LaunchError } from '../errors.js';

/**
 * npm packages cannot hold symbolic links, so the package with the binaries lists them and makes them in its install
 * script; npm may be told not to run those (`ignore-scripts`, `allowScripts`). Without `libicuuc.so.60` and its like the
 * server does not start, so the links that are missing are made here. Costs one `lstat` each when they are there.
 */
export function linkSharedLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    // Paths begin with `native/`; source and target always share a folder.
    const path = join(native, '..', target);
    if (!existsSync(path)) makeLink(basename(source), path);
  }
}

function makeLink(to: string, path: string): void {
  try {
    symlinkSync(to, path);
  } catch (cause) {
    // Another process made it between our look and our call.
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return;
    const message = `${path} could not be created, but PostgreSQL needs it. Make node_modules writable once (or run npm with install scripts), or set DATABASE_URL.`;
    throw new LaunchError('data-dir-not-writable', message, { cause });
  }
}
