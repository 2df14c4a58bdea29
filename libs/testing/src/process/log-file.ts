import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** A log larger than this is moved to `<name>.1` before its process starts again, so two generations are the most that is kept. */
const MAX_LOG_BYTES = 10 * 1024 * 1024;

/** Opens a log for appending and returns its file descriptor. Its folder is made when it is missing. */
export function openLog(path: string, maxBytes = MAX_LOG_BYTES): number {
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path) && statSync(path).size > maxBytes) renameSync(path, `${path}.1`);
  return openSync(path, 'a');
}

/** The last `count` lines that are not empty, without colours. Reads at most 64 KiB from byte `from` on. */
export function tailLog(path: string, count: number, from = 0): string[] {
  if (!existsSync(path)) return [];
  const file = openSync(path, 'r');
  try {
    const size = fstatSync(file).size;
    const start = Math.max(from, size - 65_536);
    const buffer = Buffer.alloc(Math.max(0, size - start));
    readSync(file, buffer, 0, buffer.length, start);
    const lines = buffer.toString('utf8').split('\n');
    return lines.map(withoutColours).filter(notEmpty).slice(-count);
  } finally {
    closeSync(file);
  }
}

function withoutColours(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what colours begin with
  return line.replace(/\u001b\[[0-9;]*m/g, '').trimEnd();
}

function notEmpty(line: string): boolean {
  return line.length > 0;
}
