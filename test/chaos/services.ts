import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '@jetlane/testing';
import { type Problem, problem } from './cell.js';
import type { Scene } from './scene.js';

const READY_MS = 30_000;
/** Workers tell what they did once a second. */
const COUNTED_MS = 2500;

/** At the end both copies of every service are ready, and none has died but those that the cell killed. */
export async function serviceProblems(scene: Scene): Promise<Problem[]> {
  const { everything } = scene.site;
  const ready = await Promise.all(everything.map((service) => waitUntil(() => service.isReady(), { timeoutMs: READY_MS, everyMs: 100 })));
  const names = everything.filter((_, i) => !ready[i]).map(({ name }) => name);
  const died = scene.restarts - scene.copies.reduce((sum, { kills }) => sum + kills, 0);
  return [
    ...problem('unready', names.length, `not ready: ${names.join(', ')}`),
    ...problem('died', died, 'services ended though nobody killed them'),
  ];
}

/**
 * What analytics has counted of the run, asked through a gateway. Nothing here believes it: it stands in the table beside what the audit
 * has. A worker that is killed takes its last second along.
 * @param expected not waited for longer than until it is reached
 */
export async function countedByAnalytics({ site, queue }: Scene, expected: number): Promise<number | undefined> {
  const deadline = performance.now() + COUNTED_MS;
  for (;;) {
    const count = await ask(site.services('gateway')[0]!.url, queue).catch(() => undefined);
    if ((count ?? -1) >= expected || performance.now() > deadline) return count;
    await sleep(250);
  }
}

async function ask(url: string, queue: string): Promise<number | undefined> {
  const answer = await fetch(`${url}/api/queue/stats/${queue}`, { signal: AbortSignal.timeout(COUNTED_MS) });
  const { queues } = (await answer.json()) as { queues?: { totals: { completed: number } | null }[] };
  return queues?.[0]?.totals?.completed;
}
