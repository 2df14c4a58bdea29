import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Daemon, findProgram, freePort, installWithApt, startDaemon } from './daemon.js';

/**
 * Starts a redis-server for the BullMQ baseline, durable to one second (append-only file, fsync every second). What would only slow it
 * down is off: no RDB snapshots, no rewrite of the file in mid-run. Undefined when there is none and none could be installed.
 */
export async function startRedis(): Promise<Daemon | undefined> {
  const program = findProgram('redis-server') ?? (installWithApt('redis-server') ? findProgram('redis-server') : undefined);
  if (program === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'jetlane-bench-redis-'));
  const port = await freePort();
  const durable = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '', '--auto-aof-rewrite-percentage', '0'];
  const place = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder];
  const daemon = await startDaemon(
    program,
    [...place, ...durable, '--maxmemory-policy', 'noeviction'],
    port,
    /Ready to accept connections/,
  );
  const stop = async () => {
    await daemon.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { ...daemon, stop };
}
