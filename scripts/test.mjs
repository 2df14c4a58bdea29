// npm test: installs, builds, lints and runs every test. Arguments go to vitest: npm test -- --project unit libs/worker
import { nodeProblem } from './lib/node-version.mjs';

const problem = nodeProblem();
if (problem === undefined) {
  const { test } = await import('./lib/test.mjs');
  process.exitCode = await test(process.argv.slice(2));
} else {
  console.error(problem);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
}
