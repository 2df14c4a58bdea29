import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { environmentOf, liveRun } from './run-record.js';

/** A Jetlane that runs from another folder. */
export interface OtherStart {
  /** Of the process that started it and stops it. */
  pid: number;
  dataDir: string;
}

/**
 * The other Jetlane that all of these processes belong to, if there is one. Its services carry the folder in their
 * environment; the run records in that folder name its servers as well. Only Linux shows the environment of others.
 */
export function otherStartOf(pids: readonly number[]): OtherStart | undefined {
  const dirs = new Set(pids.flatMap((pid) => environmentOf(pid, 'JETLANE_DATA_DIR') || []));
  for (const dataDir of dirs) {
    const owner = liveRun(join(dataDir, 'run', 'platform.json'));
    const members = membersOf(dataDir);
    if (owner !== undefined && pids.every((pid) => members.has(pid))) return { pid: owner.pid, dataDir };
  }
  return undefined;
}

function membersOf(dataDir: string): Set<number> {
  const files = [
    ...namesIn(join(dataDir, 'run')).map((name) => join(dataDir, 'run', name)),
    join(dataDir, 'nats', 'run.json'),
    join(dataDir, 'postgres', 'run.json'),
  ];
  return new Set(files.flatMap((file) => liveRun(file)?.pid ?? []));
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
