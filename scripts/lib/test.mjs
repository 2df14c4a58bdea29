import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt } from './build.mjs';
import { report } from './fail.mjs';
import { ensureInstalled } from './install.mjs';
import { ensurePostgres, ensurePrograms } from './prerequisites.mjs';
import { ROOT, run, since } from './run.mjs';
import { countResults } from './vitest-results.mjs';

/**
 * Runs everything and prints, as the very last line, how many tests passed and failed. Each step before vitest (style,
 * dependency rules, build, every program that tests need) counts as one test.
 *
 * @returns {Promise<number>} the exit code
 */
export async function test(args) {
  const count = { passed: 0, failed: 0 };
  const problems = [];
  const fail = (problem) => {
    count.failed++;
    problems.push(problem);
  };
  try {
    await ensureInstalled();
    await lint(count, fail);
    await ensureBuilt();
    count.passed++;
    const env = await prepare(fail);
    await runVitest(args, env, count, fail);
  } catch (error) {
    report(error);
    fail(error.message.split('\n')[0]);
  }
  for (const problem of problems) console.log(`✗ ${problem}`);
  console.log(`${count.passed} passed, ${count.failed} failed`);
  return count.failed === 0 && count.passed > 0 ? 0 : 1;
}

async function lint(count, fail) {
  const bin = (name, ...path) => join(ROOT, 'node_modules', name, ...path);
  const steps = [
    ['style', [bin('@biomejs/biome', 'bin', 'biome'), 'check', '.']],
    [
      'dependencies',
      [bin('dependency-cruiser', 'bin', 'dependency-cruise.mjs'), '--config', '.dependency-cruiser.cjs', 'libs', 'apps', 'test'],
    ],
    // Vite builds the page without looking at its types.
    ['page types', [bin('typescript7', 'bin', 'tsc'), '--noEmit', '-p', 'apps/dashboard']],
  ];
  for (const [name, args] of steps) {
    const start = performance.now();
    const { code, output } = await run(process.execPath, args);
    if (code === 0) {
      count.passed++;
      console.log(`  ${name.padEnd(16)}good   (${since(start)})`);
    } else {
      console.log(output);
      fail(`${name}: see above`);
    }
  }
}

/** Everything that tests look for at run time, once instead of in every file. Returns environment for vitest. */
async function prepare(fail) {
  const { findPostgres, resolveNatsServer } = await import(pathToFileURL(join(ROOT, 'libs/testing/dist/index.js')).href);
  for (const problem of [...(await ensurePrograms()), ...(await ensurePostgres(findPostgres))]) fail(problem);
  const nats = await resolveNatsServer({ log: (line) => console.log(`  ${line} …`) });
  console.log(`  ${'nats-server'.padEnd(16)}${nats.version}\n`);
  return { NATS_SERVER_BIN: nats.path };
}

async function runVitest(args, env, count, fail) {
  const dir = mkdtempSync(join(tmpdir(), 'jetlane-test-'));
  const outputFile = join(dir, 'results.json');
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${outputFile}`];
    const { code } = await run(process.execPath, [vitest, 'run', ...reporters, ...args], { env, show: true });
    const results = countResults(readFileSync(outputFile, 'utf8'));
    count.passed += results.passed;
    count.failed += results.failed;
    if (results.skipped > 0) console.log(`  ${results.skipped} skipped: ${results.skippedNames.slice(0, 5).join('; ')}`);
    if (results.passed + results.failed === 0) fail('vitest ran no test');
    // For example an error outside every test.
    else if (code !== 0 && results.failed === 0) fail(`vitest ended with exit code ${code} although no test failed: see above`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
