#!/usr/bin/env node
import process, { argv, env, stderr, stdout } from 'node:process';
import { Gateway } from './demo/gateway.mjs';
import { Ledger } from './demo/ledger.mjs';
import { DemoError, HELP, readOptions } from './demo/options.mjs';
import { format, Progress } from './demo/progress.mjs';
import { writePurchases } from './demo/purchases.mjs';
import { submitPurchases } from './demo/submit.mjs';
import { verify, waitForCompletion } from './demo/wait.mjs';

let announced = '';

/** Before there is any progress to show: each trouble once. */
function announce(message = '') {
  if (message && message !== announced) stderr.write(`${message}; waiting for it\n`);
  announced = message;
}

async function run(options) {
  let started = 0;
  const progress = new Progress(options.tasks);
  const gateway = new Gateway(options.url, {
    apiKey: options.apiKey,
    patienceMs: options.stallMs,
    onTrouble: (message) => (started > 0 ? progress.update({ message: message ?? '' }) : announce(message)),
  });
  await gateway.greet();
  await writePurchases(options);
  const ledger = await Ledger.read(gateway, options);
  stdout.write(
    `${format(options.tasks)} credit purchases of ${format(ledger.accounts.length)} users: ${options.csv}\nrun ${options.run} through ${options.url.origin}\n`,
  );

  started = performance.now();
  const [{ duplicates }] = await Promise.all([
    submitPurchases(gateway, options, (stored) => progress.update({ accepted: progress.accepted + stored })),
    waitForCompletion(ledger, progress, options.stallMs),
  ]);
  progress.end();
  const seconds = (performance.now() - started) / 1000;
  await verify(ledger, options.tasks, options.stallMs);
  const repeated = duplicates > 0 ? `, ${format(duplicates)} of them known before and not repeated` : '';
  stdout.write(
    `RIGHT: all ${format(ledger.accounts.length)} balances equal the sums of their purchases, ${format(ledger.total)} credits in total\n`,
  );
  stdout.write(`${format(options.tasks)} tasks in ${seconds.toFixed(1)} s (${format(Math.round(options.tasks / seconds))}/s)${repeated}\n`);
}

async function main() {
  const options = readOptions(argv.slice(2), env);
  if (options.help) {
    stdout.write(`${HELP}\n`);
    return;
  }
  process.once('SIGINT', () => {
    stderr.write(`\nstopped; what was accepted goes on. To take it up again: npm run demo -- --run ${options.run}\n`);
    process.exit(130);
  });
  await run(options);
}

try {
  await main();
} catch (error) {
  stderr.write(`\n${error instanceof DemoError ? error.message : error.stack}\n`);
  // Requests may still be under way; nobody waits for them any more.
  process.exit(error instanceof DemoError ? error.exitCode : 1);
}
