import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pidExists } from '../process/run-record.js';
import { findPostgres } from './binaries.js';
import { linkSharedLibraries } from './link-libraries.js';
import { type PostgresServer, startPostgres } from './server.js';
import { isReachable, reachableBinaries } from './server-user.js';

const work = mkdtempSync(join(tmpdir(), 'jetlane-postgres-spec-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
// As root the server runs as another user, who must be able to enter.
chmodSync(work, 0o711);
const asRoot = process.getuid?.() === 0;

/** Protocol 3.0: the first message tells the database and the role; the server answers `R` (authentication) or `E`. */
function greet(port: number, user: string): Promise<string> {
  const parameters = Buffer.from(`user\0${user}\0database\0jetlane\0\0`);
  const header = Buffer.alloc(8);
  header.writeInt32BE(8 + parameters.length, 0);
  header.writeInt32BE(0x0003_0000, 4);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(Buffer.concat([header, parameters])));
    socket.once('error', reject);
    socket.once('data', (data) => {
      resolve(data.toString('latin1'));
      socket.destroy();
    });
  });
}

describe('startPostgres', () => {
  const dataDir = join(work, 'data');
  const cluster = join(dataDir, 'cluster');
  let server: PostgresServer;

  // Creating a database takes a second of pure processor time: one for all tests, which leave it running.
  beforeAll(async () => {
    server = await startPostgres({ dataDir: relative(process.cwd(), dataDir), durable: false });
  }, 60_000);
  afterAll(() => server.stop());

  it('starts (as root too), stops, finds its data and its password again', async () => {
    expect(server.url).toMatch(/^postgres:\/\/jetlane:[0-9a-f]{48}@127\.0\.0\.1:\d+\/jetlane$/);
    expect(statSync(join(dataDir, 'password')).mode & 0o777).toBe(0o600);
    const created = statSync(join(cluster, 'PG_VERSION')).ino;
    const { url, port } = server;
    await server.stop();
    expect(server.pid).toBeUndefined();
    server = await startPostgres({ dataDir, port, durable: false });
    expect(statSync(join(cluster, 'PG_VERSION')).ino).toBe(created);
    expect(server.url).toBe(url);
  });

  it('lets in only its own role, and only with the password', async () => {
    expect(await greet(server.port, 'jetlane')).toContain('SCRAM-SHA-256');
    expect(await greet(server.port, 'postgres')).toContain('no pg_hba.conf entry');
  });

  it('starts again after SIGKILL, although postmaster.pid is still there', async () => {
    server.kill('SIGKILL');
    await server.exited;
    expect(existsSync(join(cluster, 'postmaster.pid'))).toBe(true);
    await server.start();
    expect(await greet(server.port, 'jetlane')).toContain('SCRAM-SHA-256');
  });

  it('is not fooled by a pid that now belongs to another program', async () => {
    await server.stop();
    const { uid } = statSync(cluster);
    const other = spawn('sleep', ['60'], { stdio: 'ignore', ...(asRoot ? { uid } : {}) });
    writeFileSync(join(cluster, 'postmaster.pid'), `${other.pid}\n${cluster}\n`);
    await server.start();
    expect(server.pid).toBeDefined();
    expect(pidExists(other.pid as number)).toBe(true);
    other.kill();
  });

  it('gives the role a new password when the file was lost', async () => {
    const { url } = server;
    await server.stop();
    unlinkSync(join(dataDir, 'password'));
    await server.start();
    expect(server.url).not.toBe(url);
  });

  it('does not touch data of another major version', async () => {
    await server.stop();
    const version = readFileSync(join(cluster, 'PG_VERSION'));
    writeFileSync(join(cluster, 'PG_VERSION'), '99\n');
    await expect(server.start()).rejects.toMatchObject({ code: 'postgres-version-mismatch', details: { major: 99 } });
    writeFileSync(join(cluster, 'PG_VERSION'), version);
    await server.start();
  });

  it('leaves nothing behind of a throw-away server', async () => {
    const throwAway = await startPostgres();
    await throwAway.stop();
    expect(existsSync(throwAway.dataDir)).toBe(false);
  }, 60_000);
});

describe('the binaries from npm', () => {
  it('are completed with the links that npm cannot carry', async () => {
    const { root, source } = await findPostgres();
    expect(source).toBe('npm');
    const native = join(work, 'package', 'native');
    cpSync(root, native, { recursive: true, verbatimSymlinks: true });
    const links = () => readdirSync(join(native, 'lib')).filter((name) => lstatSync(join(native, 'lib', name)).isSymbolicLink());
    const complete = links();
    for (const name of complete) unlinkSync(join(native, 'lib', name));
    linkSharedLibraries(native);
    expect(links()).toEqual(complete);
    expect(execFileSync(join(native, 'bin', 'postgres'), ['--version'], { encoding: 'utf8' })).toContain('PostgreSQL');
  });

  it.runIf(asRoot)('are copied when the server user cannot reach them', async () => {
    const closed = mkdtempSync(join(work, 'closed-'));
    const found = await findPostgres();
    const root = join(closed, 'native');
    cpSync(found.root, root, { recursive: true, verbatimSymlinks: true });
    const user = { name: 'nobody', uid: 65_534, gid: 65_534 };
    expect(isReachable(join(root, 'bin'), user)).toBe(false);
    const copy = reachableBinaries({ ...found, root, bin: join(root, 'bin') }, user);
    expect(isReachable(copy.bin, user)).toBe(true);
    const output = execFileSync(join(copy.bin, 'postgres'), ['--version'], { encoding: 'utf8', uid: user.uid, gid: user.gid, cwd: '/' });
    expect(output).toContain('PostgreSQL');
    rmSync(join(copy.root, '..'), { recursive: true, force: true });
  });

  it.runIf(asRoot)(
    'keep their data elsewhere when a clone lies behind a closed door, and find it again',
    async () => {
      const dataDir = join(mkdtempSync(join(work, 'closed-')), 'postgres');
      const first = await startPostgres({ dataDir });
      await first.stop();
      expect(lstatSync(join(dataDir, 'cluster')).isSymbolicLink()).toBe(true);
      const again = await startPostgres({ dataDir });
      await again.stop();
      const place = join(execFileSync('realpath', [join(dataDir, 'cluster')], { encoding: 'utf8' }).trim(), '..');
      expect(readFileSync(join(place, 'cluster', 'PG_VERSION'), 'utf8')).toMatch(/^\d+/);
      rmSync(place, { recursive: true, force: true });
    },
    60_000,
  );
});
