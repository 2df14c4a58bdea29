import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LaunchError } from '../errors.js';
import type { PostgresBinaries } from './binaries.js';

/** A system user. */
export interface SystemUser {
  name: string;
  uid: number;
  gid: number;
}

/** Where root keeps what another user must be able to reach. */
const SHARED_HOME = '/var/lib/jetlane';

/**
 * The user that PostgreSQL must run as: it refuses to run as root, so root hands it to `postgres` or, where no such user
 * exists, to `nobody`. Undefined for everybody else: it runs as ourselves.
 */
export function serverUser(): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8').split('\n').map(parseUser);
  const user = users.find(({ name }) => name === 'postgres') ?? users.find(({ name }) => name === 'nobody');
  if (user !== undefined && user.uid > 0) return user;
  const message =
    'PostgreSQL does not run as root, and this system has no user "postgres" or "nobody" to run it as. Start as another user, or set DATABASE_URL.';
  throw new LaunchError('start-failed', message);
}

/** Whether another user can enter every folder on the way to `path`. Its own permissions are not looked at. */
export function isReachable(path: string, user: SystemUser): boolean {
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    const { uid, gid, mode } = statSync(dir);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (dir === dirname(dir)) return true;
  }
}

/** A folder that every user can reach, named after `path` so that each clone has its own. */
export function reachablePlaceFor(path: string): string {
  const id = createHash('sha256').update(path).digest('hex').slice(0, 12);
  const place = join(SHARED_HOME, id);
  mkdirSync(place, { recursive: true, mode: 0o755 });
  return place;
}

/** The binaries themselves, or a copy where the server's user can read them: a clone under /root lies behind a closed door. */
export function reachableBinaries(binaries: PostgresBinaries, user: SystemUser): PostgresBinaries {
  if (isReachable(binaries.bin, user)) return binaries;
  const place = reachablePlaceFor(binaries.root);
  const copy = join(place, `postgres-${binaries.version}`);
  if (!existsSync(copy)) {
    const part = `${copy}.${process.pid}.part`;
    rmSync(part, { recursive: true, force: true });
    cpSync(binaries.root, part, { recursive: true, verbatimSymlinks: true });
    renameSync(part, copy);
  }
  return { ...binaries, root: copy, bin: join(copy, 'bin') };
}

function parseUser(line: string): SystemUser {
  const [name = '', , uid, gid] = line.split(':');
  return { name, uid: Number(uid), gid: Number(gid) };
}
