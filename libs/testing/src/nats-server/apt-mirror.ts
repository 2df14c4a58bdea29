import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../process/run-command.js';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** Debian suites that carry a new enough nats-server. `testing` and `sid` are names that never move away. */
const SUITES = ['forky', 'testing', 'sid'];

/**
 * Fetches nats-server from the Debian mirror that this machine's apt is configured for, although its own release may carry
 * an older one. apt checks signature and hash as always, but works on lists and archives of its own in `dir`: the state of
 * the system is neither read nor changed. Works for any user.
 *
 * @returns the path of the binary
 */
export async function fetchFromAptMirror(dir: string): Promise<string> {
  if (process.platform !== 'linux') throw new Error('only Debian has apt');
  const mirror = await configuredMirror();
  if (!existsSync(KEYRING)) throw new Error(`${KEYRING} is missing`);
  let lastError: unknown;
  for (const suite of SUITES) {
    try {
      return await fetchFrom(mirror, suite, join(dir, suite));
    } catch (error) {
      // A mirror may not carry this suite; the next name may do.
      lastError = error;
    }
  }
  throw lastError;
}

/** `--print-uris` only prints, and needs no downloaded lists. */
async function configuredMirror(): Promise<string> {
  const uris = await runCommand('apt-get', ['update', '--print-uris'], { timeoutMs: 10_000 });
  const mirrors = uris.split('\n').map((line) => /^'([^']*\/debian)\/+dists\//.exec(line)?.[1]);
  const mirror = mirrors.filter((uri) => uri !== undefined).sort()[0];
  if (mirror === undefined) throw new Error('apt is not configured for a Debian mirror');
  return mirror;
}

async function fetchFrom(mirror: string, suite: string, dir: string): Promise<string> {
  const folders = ['lists/partial', 'archives/partial', 'parts', 'unpacked'];
  await Promise.all(folders.map((folder) => mkdir(join(dir, folder), { recursive: true })));
  await writeFile(join(dir, 'sources.list'), `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
  const options = aptOptions(dir);
  await runCommand('apt-get', [...options, 'update'], { cwd: dir, timeoutMs: 60_000 });
  await runCommand('apt-get', [...options, 'download', 'nats-server'], { cwd: dir, timeoutMs: 120_000 });
  const archive = (await readdir(dir)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error(`${suite} has no nats-server for this architecture`);
  await runCommand('dpkg-deb', ['-x', join(dir, archive), join(dir, 'unpacked')]);
  const binary = join(dir, 'nats-server');
  await copyFile(join(dir, 'unpacked/usr/sbin/nats-server'), binary);
  return binary;
}

/** Points everything that apt reads or writes, besides its configuration, into `dir`. */
function aptOptions(dir: string): string[] {
  const settings = [
    `Dir::Etc::SourceList=${dir}/sources.list`,
    `Dir::Etc::SourceParts=${dir}/parts`,
    `Dir::State::Lists=${dir}/lists`,
    `Dir::Cache::Archives=${dir}/archives`,
    'Dir::Cache::pkgcache=',
    'Dir::Cache::srcpkgcache=',
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
    'Acquire::Retries=1',
    'Acquire::http::Timeout=10',
    'Acquire::https::Timeout=10',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false',
  ];
  return ['-qq', ...settings.flatMap((setting) => ['-o', setting])];
}
