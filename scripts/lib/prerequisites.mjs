import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run, since } from './run.mjs';

/** Programs that tests need and npm cannot install. */
const PROGRAMS = [
  { name: 'redis-server', commands: ['redis-server'], package: 'redis-server', tests: 'the comparison with BullMQ (test/bench)' },
  { name: 'openssl', commands: ['openssl'], package: 'openssl', tests: 'TLS of the gateway (test/integration)' },
  {
    name: 'Chromium',
    commands: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    package: 'chromium',
    tests: 'the page (test/e2e)',
  },
  { name: 'a C compiler', commands: ['cc'], package: 'gcc', tests: 'the wire contract from C (test/interop)', optional: true },
  { name: 'libc-dev', files: ['/usr/include/stdio.h'], package: 'libc6-dev', tests: 'the wire contract from C', optional: true },
  { name: 'libnats', files: ['/usr/include/nats/nats.h'], package: 'libnats-dev', tests: 'the wire contract from C', optional: true },
];
const isThere = ({ commands = [], files = [] }) => commands.some(isOnPath) || files.some((file) => existsSync(file));

/**
 * Makes sure that every program is there: where we are root on Debian, apt installs what is missing. Tests without an optional one
 * are skipped, and say so.
 *
 * @returns {Promise<string[]>} a sentence for each one that is still missing
 */
export async function ensurePrograms() {
  const missing = PROGRAMS.filter((program) => !isThere(program));
  if (missing.length === 0) return [];
  const mayInstall = process.getuid?.() === 0 && isOnPath('apt-get');
  const problem = mayInstall ? await aptInstallEach(missing) : 'install it with your package manager';
  const still = missing.filter((program) => !isThere(program));
  for (const { name, tests } of still.filter(({ optional }) => optional))
    console.log(`! ${name} is missing: ${tests} is skipped (${problem}).`);
  return still.filter(({ optional }) => !optional).map(({ name, tests }) => `${name} is missing: ${tests} cannot pass (${problem}).`);
}

/** PostgreSQL comes with npm; only where its binaries do not run (or are not there) is the system's one needed. */
export async function ensurePostgres(findPostgres) {
  try {
    await findPostgres();
    return [];
  } catch (error) {
    if (process.getuid?.() !== 0 || !isOnPath('apt-get')) return [error.message];
    const problem = await aptInstall(['postgresql']);
    return findPostgres().then(
      () => [],
      () => [`PostgreSQL is missing: the tests of the worker host cannot pass (${problem}).`],
    );
  }
}

/** An optional package that the archive does not have must not keep the others away. */
async function aptInstallEach(programs) {
  const packages = (optional) => programs.filter((program) => Boolean(program.optional) === optional).map((program) => program.package);
  const problems = [];
  for (const wanted of [packages(false), packages(true)]) if (wanted.length > 0) problems.push(await aptInstall(wanted));
  return problems.filter(Boolean).join('; ');
}

async function aptInstall(packages) {
  const start = performance.now();
  console.log(`  Installing ${packages.join(', ')} with apt …`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['-qq', '-y', '--no-install-recommends', '-o', 'Dpkg::Use-Pty=0', 'install', ...packages];
  let result = await run('apt-get', install, { env });
  if (result.code !== 0) {
    // Most often there are no package lists yet.
    await run('apt-get', ['-qq', 'update'], { env });
    result = await run('apt-get', install, { env });
  }
  if (result.code === 0) console.log(`  ${packages.join(', ').padEnd(16)}ready  (${since(start)})`);
  return result.code === 0 ? '' : `apt-get failed: ${result.output.trim().split('\n').at(-1)}`;
}

function isOnPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => dir !== '' && existsSync(join(dir, command)));
}
