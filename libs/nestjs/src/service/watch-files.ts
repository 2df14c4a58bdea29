import { type Stats, unwatchFile, watchFile } from 'node:fs';

/** How often files are looked at, ms. Polling follows renames, symbolic links and network mounts, which notifications do not. */
const EVERY_MS = 1000;

/** Calls back when one of the files has changed. Returns the way to stop. */
export function watchFiles(paths: readonly string[], onChange: () => void): () => void {
  const listener = (now: Stats, before: Stats): void => {
    if (now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.ino) onChange();
  };
  for (const path of paths) watchFile(path, { interval: EVERY_MS, persistent: false }, listener);
  return () => {
    for (const path of paths) unwatchFile(path, listener);
  };
}
