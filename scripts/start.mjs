// npm start: the whole platform from a fresh clone. Only the version check may load before Node is known to be new enough.
import { nodeProblem } from './lib/node-version.mjs';

const problem = nodeProblem();
if (problem === undefined) {
  const { start } = await import('./lib/start.mjs');
  await start();
} else {
  console.error(problem);
  process.exitCode = 1;
}
