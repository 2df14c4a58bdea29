import { setTimeout as sleep } from 'node:timers/promises';
import { createDatabase } from '@jetlane/postgres';
import { sql } from 'kysely';
import { type Cell, type Problem, problem } from '../cell.js';
import { type Ledger, missing } from '../ledger.js';
import type { Scene } from '../scene.js';

const OFF_MS = 10 * 60_000;
const DELAY_MS = 2000;
const DELAYED = { every: 10, at: 3, delayMs: DELAY_MS } as const;
/** A timer is rounded by the server. */
const ROUNDING_MS = 300;

/** Delayed tasks that ran before their time. */
function tooEarly({ load }: Scene, { confirmed, effects }: Ledger): Problem[] {
  // What is sent afterwards, to see whether all workers live, is not delayed.
  const loaded = Math.round(load.rate * load.seconds);
  const early = [...confirmed].filter(([key, { n, sentAt }]) => {
    const first = effects.get(key)?.[0]?.at;
    return n < loaded && n % DELAYED.every === DELAYED.at && first !== undefined && first - sentAt < DELAY_MS - ROUNDING_MS;
  });
  return problem('early', early.length, 'delayed tasks that ran at once');
}

/** Producer and worker disagree by twenty minutes with each other, and jump. */
export const clockOff: Cell = {
  name: 'clock-off',
  breaks:
    'the clocks of producer and worker ten minutes off, one ahead and one behind, then the other way round; some tasks are delayed, some fail once',
  // Long enough that the clock is set while tasks run, and no more than 500 of them at a time.
  workMs: ({ rate }) => Math.min(200, Math.round(500_000 / rate)),
  mix: () => [DELAYED, { every: 10, at: 6, data: { does: 'throw' } }],
  faultAt: 0.1,
  fault: async (scene) => {
    await scene.mark();
    for (const shift of [OFF_MS, -OFF_MS]) {
      scene.producer.setClock(shift);
      scene.worker('w1').setClock(-shift);
      await sleep((scene.load.seconds * 1000) / 3);
    }
  },
  bound: () => 0,
  judge: tooEarly,
  controls: [{ without: "timers are set by the server's clock", shows: 'stuck', worker: ['server-clock'] }],
};

/** Rows by task, as the database has them. */
async function effectRows(url: string): Promise<Map<string, number>> {
  const db = createDatabase(url, { maxConnections: 1 });
  const { rows } = await sql<{ task_key: string; count: string }>`select task_key, count(*) as count from effects group by 1`.execute(db);
  await db.destroy();
  return new Map(rows.map(({ task_key, count }) => [task_key, Number(count)]));
}

async function onceEach(scene: Scene, ledger: Ledger): Promise<Problem[]> {
  const rows = await effectRows(scene.databaseUrl!);
  const twice = [...rows.values()].filter((count) => count > 1).length;
  const none = [...ledger.confirmed.keys()].filter((key) => !rows.has(key)).length - missing(ledger).length;
  return [...problem('duplicates', twice, `${twice} tasks have two rows`), ...problem('lost', none, `${none} tasks have no row`)];
}

/** The worker dies when rows are written and deliveries are not yet acknowledged. */
export const inbox: Cell = {
  name: 'inbox',
  breaks: 'SIGKILL of a worker whose handlers write into PostgreSQL through the inbox',
  database: true,
  most: { rate: 1000 },
  concurrency: () => 100,
  // Between the commit and the end of the run.
  workMs: ({ rate }) => Math.min(500, Math.round(100_000 / rate)),
  fault: async (scene) => {
    const worker = scene.worker('w1');
    await scene.mark(worker);
    worker.kill('SIGKILL');
    await worker.exited;
    await scene.startWorker('w3');
  },
  judge: onceEach,
  controls: [{ without: 'effects go through the inbox', shows: 'duplicates', worker: ['inbox'] }],
};
