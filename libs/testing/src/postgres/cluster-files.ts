import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { LaunchError } from '../errors.js';
import { runCommand } from '../process/run-command.js';
import { type PostgresBinaries, programPath } from './binaries.js';
import { isReachable, reachablePlaceFor, type SystemUser } from './server-user.js';

/** The files of one embedded database: `<dir>/cluster` (PostgreSQL's own), `<dir>/password`, log and run record. */
export interface ClusterFiles {
  dir: string;
  /** PostgreSQL's data folder; elsewhere than `<dir>/cluster`, which is then a link, when the server's user could not reach it. */
  data: string;
  user: SystemUser | undefined;
}

/** Name of the role and of the database that the platform uses. The role may create databases, but is no superuser. */
export const ROLE = 'jetlane';
/** Only this role, only over loopback, only with its password. The superuser has no way in over the network. */
const HBA = `host all ${ROLE} 127.0.0.1/32 scram-sha-256\nhost all ${ROLE} ::1/128 scram-sha-256\n`;

/** Finds, or makes room for, the files of an embedded database. */
export function openClusterFiles(dir: string, user: SystemUser | undefined): ClusterFiles {
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  const data = join(dir, 'cluster');
  if (user === undefined) return assertReadable({ dir, data, user });
  if (isLink(data)) return { dir, data: realpathSync(data), user };
  if (isReachable(data, user)) return { dir, data, user };
  const elsewhere = join(reachablePlaceFor(dir), 'cluster');
  if (existsSync(data)) throw notReadable(data, `the user "${user.name}", as whom root runs PostgreSQL,`);
  return { dir, data: elsewhere, user };
}

/** Data that root started belongs to another user. */
function assertReadable(files: ClusterFiles): ClusterFiles {
  try {
    if (existsSync(files.data)) readdirSync(files.data);
    return files;
  } catch {
    throw notReadable(files.data, 'this user');
  }
}

function notReadable(data: string, who: string): LaunchError {
  const message = `The embedded database in ${data} cannot be read by ${who}. Start as the user who started it before, set JETLANE_DATA_DIR to another folder, or set DATABASE_URL.`;
  return new LaunchError('data-dir-not-writable', message, { details: { data } });
}

/** Deletes a database, wherever its data lies. */
export function deleteClusterFiles(dir: string): void {
  const data = join(dir, 'cluster');
  if (isLink(data) && existsSync(data)) rmSync(dirname(realpathSync(data)), { recursive: true, force: true });
  rmSync(dir, { recursive: true, force: true });
}

/** The major version of the data, or undefined when there is none yet. */
export function dataVersion(files: ClusterFiles): number | undefined {
  const file = join(files.data, 'PG_VERSION');
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : undefined;
}

/** The role's password; it is made on first use and lies in a file that only we can read. */
export function readPassword(files: ClusterFiles): string {
  const file = join(files.dir, 'password');
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

/**
 * Makes an empty database. All work happens in `<data>.new`, renamed when complete, so an interrupted first start leaves
 * nothing half-done behind.
 */
export async function createCluster(files: ClusterFiles, binaries: PostgresBinaries, durable: boolean): Promise<void> {
  const fresh = `${files.data}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true, mode: 0o700 });
  giveTo(files.user, fresh);
  const args = ['-D', fresh, '-U', 'postgres', '--auth=reject', '--encoding=UTF8', '--no-locale', '--no-instructions'];
  const options = { cwd: '/', user: idsOf(files.user), env: environment() };
  await runCommand(programPath(binaries, 'initdb'), durable ? args : [...args, '--no-sync'], options);
  writeFileSync(join(fresh, 'pg_hba.conf'), HBA);
  const statements = [`CREATE ROLE ${ROLE} LOGIN CREATEDB PASSWORD '${readPassword(files)}'`, `CREATE DATABASE ${ROLE} OWNER ${ROLE}`];
  await runOffline(files, binaries, fresh, statements);
  renameSync(fresh, files.data);
  const link = join(files.dir, 'cluster');
  if (link !== files.data) symlinkSync(files.data, link);
}

/** Gives the role the password of the password file, for when that file was lost or the folder copied without it. */
export async function resetPassword(files: ClusterFiles, binaries: PostgresBinaries): Promise<void> {
  const password = readPassword(files);
  await runOffline(files, binaries, files.data, [`ALTER ROLE ${ROLE} PASSWORD '${password}'`]);
}

/** Makes data that another user wrote (an earlier start as root, or not as root) ours to run. Only root can. */
export function adoptData(files: ClusterFiles): void {
  if (files.user === undefined || statSync(files.data).uid === files.user.uid) return;
  giveTo(files.user, files.data);
  for (const entry of readdirSync(files.data, { recursive: true, encoding: 'utf8' })) giveTo(files.user, join(files.data, entry));
}

/** uid and gid for `spawn`. */
export function idsOf(user: SystemUser | undefined): { uid: number; gid: number } | undefined {
  return user === undefined ? undefined : { uid: user.uid, gid: user.gid };
}

/** PostgreSQL's programs read PG* variables meant for clients; ours must not see them. */
export function environment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PG') && !name.startsWith('LC_'));
  return { ...Object.fromEntries(inherited), LC_ALL: 'C' };
}

/** Single-user mode: statements without a server, without a port, as superuser. One statement per line. */
async function runOffline(files: ClusterFiles, binaries: PostgresBinaries, data: string, statements: readonly string[]): Promise<void> {
  const input = statements.map((statement) => `${statement};\n`).join('');
  const options = { cwd: '/', user: idsOf(files.user), env: environment(), input };
  await runCommand(programPath(binaries, 'postgres'), ['--single', '-D', data, 'postgres'], options);
}

function giveTo(user: SystemUser | undefined, path: string): void {
  if (user === undefined || lstatSync(path).isSymbolicLink()) return;
  chownSync(path, user.uid, user.gid);
  if (path.endsWith('cluster') || path.endsWith('.new')) chmodSync(path, 0o700);
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}
