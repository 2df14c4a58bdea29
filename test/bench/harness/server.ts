import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Daemon, findProgram, freePort, startDaemon } from './daemon.js';

/** A nats-server of this run alone. */
export interface NatsServer extends Daemon {
  url: string;
}

/**
 * Starts a fresh nats-server on a free port, with file storage in a temporary folder and the `sync_interval` of the configurations that
 * we ship; `stop()` ends it and removes its folder. @throws Error when there is no nats-server
 */
export async function startServer(): Promise<NatsServer> {
  const program = findProgram(process.env.NATS_SERVER_BIN, 'nats-server');
  if (program === undefined) throw new Error('no nats-server found: put it on the PATH or set NATS_SERVER_BIN to its path');
  const folder = await mkdtemp(join(tmpdir(), 'jetlane-bench-nats-'));
  const port = await freePort();
  const config = join(folder, 'server.conf');
  await writeFile(config, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}/data", sync_interval: 100ms }\n`);
  const daemon = await startDaemon(program, ['-c', config], port, /Server is ready/);
  const stop = async () => {
    await daemon.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { ...daemon, url: `nats://127.0.0.1:${port}`, stop };
}
