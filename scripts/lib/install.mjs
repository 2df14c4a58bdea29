import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from './fail.mjs';
import { npm, ROOT, since } from './run.mjs';

const NETWORK = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network|ENOTCACHED/;

/** Installs exactly what the lockfile says, unless that is what is there already. */
export async function ensureInstalled() {
  if (isInstalled()) return;
  assertWritableRoot();
  const start = performance.now();
  console.log('  Installing packages from the lockfile …');
  // Install scripts are not needed by anything here. Warnings (other engines, deprecations) are for those who change packages.
  const { code, output } = await npm([
    'ci',
    '--ignore-scripts',
    '--loglevel=error',
    '--no-audit',
    '--no-fund',
    '--fetch-retry-mintimeout=1000',
  ]);
  if (code !== 0) throw new Failure(explain(output));
  console.log(`  ${'packages'.padEnd(16)}ready  (${since(start)})`);
}

/** Compares the lockfile with npm's own list of what it installed. Files are not looked at: that is what `npm ci` is for. */
export function isInstalled(root = ROOT) {
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (installed === undefined || wanted === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) return true;
    const there = installed[path];
    if (there === undefined) return (entry.optional || entry.devOptional) && !isForThisPlatform(entry);
    return there.version === entry.version && there.integrity === entry.integrity;
  });
}

/** Most optional packages are for other platforms. One that names a C library as well is left to npm to judge. */
function isForThisPlatform({ os, cpu, libc }) {
  return libc === undefined && Boolean(os?.includes(process.platform) && cpu?.includes(process.arch));
}

function readPackages(file) {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function assertWritableRoot() {
  try {
    accessSync(ROOT, constants.W_OK);
  } catch {
    throw new Failure(
      `The folder ${ROOT} cannot be written, so packages cannot be installed. Make it writable, or clone Jetlane somewhere else.`,
    );
  }
}

function explain(output) {
  const said = output.split('\n').filter((line) => /^npm (error|ERR!)/.test(line) && !/^npm \S+\s+at /.test(line));
  const lines = (said.length > 0 ? said : output.trim().split('\n')).slice(0, 8).join('\n');
  if (/EROFS|EACCES|EPERM/.test(output)) {
    return `Packages cannot be installed: a file below ${ROOT} cannot be written. Make the folder writable, or clone Jetlane somewhere else.\n${lines}`;
  }
  if (NETWORK.test(output)) {
    const reason = said.find((line) => line.includes('request to') || line.includes('reason:')) ?? said[0] ?? '';
    return `Packages cannot be installed: the npm registry cannot be reached. Connect to the network (or set npm's "registry" or "proxy") and try again.\n${reason}`;
  }
  return `Packages cannot be installed ("npm ci" failed).\n${lines}`;
}
