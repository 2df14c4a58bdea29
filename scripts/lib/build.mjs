import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from './fail.mjs';
import { ROOT, run, since } from './run.mjs';

const DASHBOARD = join(ROOT, 'apps', 'dashboard');
/** Next to the sources, these decide what the page looks like. */
const DASHBOARD_INPUTS = ['src', 'public', 'index.html', 'vite.config.ts', 'package.json'];

/** Compiles libraries and services (incremental: 0.2 s when nothing changed) and, when its sources are newer, the page. */
export async function ensureBuilt({ force = false } = {}) {
  await compile(force);
  await buildPage(force);
}

async function compile(force) {
  const start = performance.now();
  const args = [join(ROOT, 'node_modules', 'typescript7', 'bin', 'tsc'), '-b', ...(force ? ['--force'] : [])];
  const { code, output } = await run(process.execPath, args);
  if (code !== 0) throw new Failure(failed('The libraries and services do not compile', output));
  done('build', start);
}

async function buildPage(force) {
  if (!existsSync(join(DASHBOARD, 'package.json')) || (!force && isPageFresh())) return;
  const start = performance.now();
  const vite = join(ROOT, 'node_modules', 'vite', 'bin', 'vite.js');
  const { code, output } = await run(process.execPath, [vite, 'build', '--logLevel', 'warn'], { cwd: DASHBOARD });
  if (code !== 0) throw new Failure(failed('The page cannot be built', output));
  done('page', start);
}

function isPageFresh() {
  const built = join(DASHBOARD, 'dist', 'index.html');
  if (!existsSync(built)) return false;
  const newest = Math.max(...DASHBOARD_INPUTS.map((name) => newestIn(join(DASHBOARD, name))));
  return newest <= statSync(built).mtimeMs;
}

function newestIn(path) {
  if (!existsSync(path)) return 0;
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}

function failed(sentence, output) {
  const readOnly = /EROFS|EACCES|EPERM/.test(output);
  const wayOut = readOnly
    ? `The folder ${ROOT} cannot be written: make it writable, or clone Jetlane somewhere else.`
    : 'Correct what is listed, then try again.';
  return `${sentence}. ${wayOut}\n${output.trim().split('\n').slice(0, 40).join('\n')}`;
}

function done(name, start) {
  console.log(`  ${name.padEnd(16)}ready  (${since(start)})`);
}
