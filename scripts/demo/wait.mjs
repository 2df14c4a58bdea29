import { setTimeout as sleep } from 'node:timers/promises';
import { DemoError } from './options.mjs';
import { format } from './progress.mjs';

const POLL_MS = 500;
const HINT_AFTER_MS = 10_000;
const LOOK_EVERY_MS = 30_000;

/**
 * Resolves when the database holds all purchases. Nothing that comes back by itself ends the wait: a worker host that
 * was killed, a gateway that restarts. A task that is dead does, and so does `stallMs` without any progress.
 * @param {import('./ledger.mjs').Ledger} ledger
 * @param {import('./progress.mjs').Progress} progress
 */
export async function waitForCompletion(ledger, progress, stallMs) {
  const lookEvery = Math.min(LOOK_EVERY_MS, stallMs);
  let movedAt = Date.now();
  let lookedAt = movedAt;
  while (progress.completed < progress.total) {
    const asked = progress.accepted;
    const completed = await ledger.completed();
    if ((completed ?? 0) > progress.completed || asked < progress.total) movedAt = Date.now();
    const still = Date.now() - movedAt;
    progress.update({ completed: completed ?? progress.completed, ...hint(still, completed) });
    if (still > lookEvery && Date.now() - lookedAt > lookEvery) {
      await failOnDeadTask(ledger);
      lookedAt = Date.now();
    }
    if (still > stallMs) {
      throw new DemoError(`no purchase was completed for ${stallMs / 1000} s: is a worker host running, with the same NATS server?`);
    }
    if (progress.completed < progress.total) await sleep(POLL_MS);
  }
}

function hint(still, completed) {
  if (completed === undefined) return { message: 'no worker host answers; waiting for one' };
  return {
    message:
      still > HINT_AFTER_MS ? `no progress for ${Math.round(still / 1000)} s; tasks of a killed worker come back after their lease` : '',
  };
}

/** Tasks that are dead will not come: say so instead of waiting for them. */
async function failOnDeadTask(ledger) {
  const wrong = await ledger.wrong();
  if (!wrong?.length) return;
  const { dead } = await ledger.missing(wrong);
  if (dead) throw new DemoError(`task ${dead.id} is ${dead.state}: ${dead.error?.message ?? dead.reason ?? 'no reason given'}`);
}

/**
 * The verdict: every balance equals the sum of its purchases, and nothing was done twice.
 * @throws DemoError that names the accounts which are wrong
 */
export async function verify(ledger, tasks, stallMs) {
  const deadline = Date.now() + stallMs;
  let wrong = await ledger.wrong();
  while (!wrong && Date.now() < deadline) wrong = await ledger.wrong();
  if (!wrong) throw new DemoError('the purchases were completed, but no worker host answers the question for the balances');
  const purchases = (await ledger.completed()) ?? tasks;
  if (wrong.length === 0 && purchases === tasks) return;
  const lines = wrong.slice(0, 10).map(({ id, expected, found }) => `  ${id}: expected ${format(expected)}, found ${format(found)}`);
  const { states } = await ledger.missing(wrong);
  const summary = [...states].map(([state, count]) => `${count} ${state}`).join(', ');
  throw new DemoError(
    [
      `${format(wrong.length)} of ${format(ledger.accounts.length)} balances are wrong; the database holds ${format(purchases)} of ${format(tasks)} purchases.`,
      ...lines,
      ...(summary ? [`  states of some of the missing ones: ${summary}`] : []),
    ].join('\n'),
  );
}
