import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';

/** A program that the benchmark started and will stop, by its process id. */
export interface Daemon {
  port: number;
  pid: number;
  stop(): Promise<void>;
}

/** A TCP port on the loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

/** The full path of the first of these programs that is executable: absolute paths as they are, plain names through PATH. */
export function findProgram(...candidates: (string | undefined)[]): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  for (const candidate of candidates) {
    if (!candidate) continue;
    const paths = candidate.includes('/') ? [candidate] : folders.map((folder) => join(folder, candidate));
    for (const path of paths) if (isExecutable(path)) return path;
  }
  return undefined;
}

/** Starts a program and waits until it says that it is ready. @throws Error with its last words when it ends before that */
export async function startDaemon(program: string, args: string[], port: number, ready: RegExp): Promise<Daemon> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await untilReady(child, program, ready);
  const stop = async () => {
    const killer = setTimeout(() => child.kill('SIGKILL'), 5000);
    child.kill('SIGTERM');
    await gone;
    clearTimeout(killer);
  };
  return { port, pid: child.pid!, stop };
}

/** Installs a Debian package where this process may; true when that worked. It asks for no service to be started. */
export function installWithApt(name: string): boolean {
  if (process.getuid?.() !== 0 || findProgram('apt-get') === undefined) return false;
  process.stderr.write(`installing ${name} with apt-get …\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const apt = (...args: string[]) => spawnSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
  return apt('install', '-y', '--no-install-recommends', name) || (apt('update') && apt('install', '-y', '--no-install-recommends', name));
}

function untilReady(child: ChildProcess, program: string, ready: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000);
      if (ready.test(said)) resolve();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${program} ended with code ${code} before it was ready:\n${said}`)));
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
