import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LaunchError } from '../errors.js';

/** Makes the folder and writes to it once. @throws LaunchError `data-dir-not-writable` */
export function assertWritable(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true });
    const probe = join(dir, `.write-test-${process.pid}`);
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (cause) {
    const message = `The folder ${dir} cannot be written. Make it writable, or set JETLANE_DATA_DIR to a folder that is.`;
    throw new LaunchError('data-dir-not-writable', message, { cause, details: { dir } });
  }
}

/** The root of the Jetlane project that this file lies in. */
export function findProjectRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let dir = start; dir !== dirname(dir); dir = dirname(dir)) {
    const manifest = join(dir, 'package.json');
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'jetlane') return dir;
  }
  throw new LaunchError('not-built', 'The root of the Jetlane project was not found. Pass it as the option "root".');
}
