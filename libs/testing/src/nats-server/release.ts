import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LaunchError } from '../errors.js';
import { runCommand } from '../process/run-command.js';
import { progressBar } from './progress-bar.js';

/** Where the official releases lie, and the one that Jetlane was tested with. */
const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';
const RELEASE = '2.15.1';
/** A machine without internet must fall through to the next source within seconds. */
const CONNECT_TIMEOUT_MS = 4_000;
const DOWNLOAD_TIMEOUT_MS = 5 * 60_000;

/** Which release to take, and from where. */
export interface ReleaseOptions {
  /** Folder of releases, e.g. a mirror inside a company. Default: the official one. */
  baseUrl?: string;
  /** Default: the version that Jetlane was tested with. */
  version?: string;
}

/**
 * Downloads the official archive for this platform into `dir`, verifies it against the release's SHA256SUMS and unpacks it.
 *
 * @returns the path of the binary
 * @throws LaunchError `checksum-mismatch`; an Error for everything that has to do with the network.
 */
export async function downloadRelease(dir: string, options: ReleaseOptions = {}): Promise<string> {
  const { baseUrl = RELEASES, version = RELEASE } = options;
  const folder = `nats-server-v${version}-${releasePlatform()}`;
  const archiveName = `${folder}.${process.platform === 'win32' ? 'zip' : 'tar.gz'}`;
  const sums = await get(`${baseUrl}/v${version}/SHA256SUMS`, CONNECT_TIMEOUT_MS);
  const expected = checksumOf(archiveName, await sums.text());
  const archive = join(dir, archiveName);
  await download(`${baseUrl}/v${version}/${archiveName}`, archive, `nats-server ${version}`);
  await verify(archive, expected);
  // tar is part of Linux, macOS and Windows 10; there it unpacks zip files too.
  await runCommand('tar', ['-xf', archiveName], { cwd: dir });
  return join(dir, folder, process.platform === 'win32' ? 'nats-server.exe' : 'nats-server');
}

/** This platform as the release names it, e.g. `linux-amd64`. */
export function releasePlatform(platform = process.platform, arch = process.arch): string {
  const system = { linux: 'linux', darwin: 'darwin', win32: 'windows', freebsd: 'freebsd' }[platform as string];
  const machine = { x64: 'amd64', arm64: 'arm64', arm: 'arm7', ia32: '386', s390x: 's390x', ppc64: 'ppc64le' }[arch as string];
  if (system === undefined || machine === undefined) throw new Error(`there is no official build for ${platform} on ${arch}`);
  return `${system}-${machine}`;
}

function checksumOf(file: string, sums: string): string {
  const line = sums.split('\n').find((candidate) => candidate.trim().split(/\s+\*?/)[1] === file);
  if (line === undefined) throw new Error(`${file} is not in the release's SHA256SUMS`);
  return (line.trim().split(/\s+/)[0] ?? '').toLowerCase();
}

async function get(url: string, timeoutMs: number): Promise<Response> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error(`no answer within ${timeoutMs / 1_000} s`)), timeoutMs);
  try {
    const response = await fetch(url, { signal: abort.signal });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return response;
  } catch (error) {
    throw new Error(`${new URL(url).host} cannot be reached`, { cause: error instanceof Error ? (error.cause ?? error) : error });
  } finally {
    clearTimeout(timer);
  }
}

async function download(url: string, target: string, label: string): Promise<void> {
  const response = await get(url, CONNECT_TIMEOUT_MS * 2);
  if (response.body === null) throw new Error(`${url} answered nothing`);
  const bar = progressBar(label, Number(response.headers.get('content-length')));
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bar.add(chunk.length);
      done(null, chunk);
    },
  });
  try {
    const source = Readable.fromWeb(response.body as import('node:stream/web').ReadableStream);
    await pipeline(source, count, createWriteStream(target), { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) });
  } finally {
    bar.end();
  }
}

async function verify(archive: string, expected: string): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(archive), hash);
  const actual = hash.digest('hex');
  if (actual === expected) return;
  const message = `The downloaded ${archive} does not have the checksum that its release states (${actual} instead of ${expected}). Try again; if it stays so, install nats-server another way and set NATS_SERVER_BIN.`;
  throw new LaunchError('checksum-mismatch', message, { retryable: true, details: { archive, actual, expected } });
}
