import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';

/** How often files are looked at, ms. Polling follows renames, symbolic links and network mounts, which notifications do not. */
const EVERY_MS = 1000;

/** Notices changes of files since its creation: create it before the files are read, and no change is missed. */
export class FileWatch {
  private last: string;
  private timer: NodeJS.Timeout | undefined;
  private looking = false;

  constructor(private readonly paths: readonly string[]) {
    this.last = paths.map((path) => signature(statSync(path, { throwIfNoEntry: false }))).join();
  }

  /** Calls back when one of the files has changed. */
  start(onChange: () => void): void {
    this.timer = setInterval(() => void this.look(onChange), EVERY_MS).unref();
  }

  /** Looks no more; a look that is under way may still call back. */
  stop(): void {
    clearInterval(this.timer);
  }

  private async look(onChange: () => void): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    const found = await Promise.all(this.paths.map((path) => stat(path).catch(() => undefined)));
    this.looking = false;
    const now = found.map(signature).join();
    if (now === this.last) return;
    this.last = now;
    onChange();
  }
}

const signature = (file: { mtimeMs: number; size: number; ino: number } | undefined): string =>
  file ? `${file.mtimeMs}/${file.size}/${file.ino}` : 'none';
