import type { Connection } from '@jetlane/jetstream';
import { type Cell, type Problem, problem } from './cell.js';
import { duplicates, effectsBefore, type Ledger, missing, overtaken, type Recovery, recovery } from './ledger.js';
import type { Scene } from './scene.js';

/** What came of a run. */
export interface Verdict {
  readonly problems: readonly Problem[];
  readonly confirmed: number;
  readonly duplicates: number;
  /** Most duplicates that are allowed. */
  readonly bound: number;
  /** Tasks in hand of those that were hit. */
  readonly held: number;
  readonly recovery: Recovery;
}

/** What the streams still hold of a queue: keys of its tasks. */
export interface Leftovers {
  readonly lane: ReadonlySet<string>;
  readonly timers: ReadonlySet<string>;
  readonly dead: ReadonlySet<string>;
}

/** All that a verdict rests on: the audit's file, the streams, and what the cell knows of its fault. */
export interface Evidence {
  readonly ledger: Ledger;
  readonly found: readonly Leftovers[];
  /** When things were broken, and what those held who were hit. */
  readonly faults: readonly { readonly at: number; readonly held: number }[];
  /** Most duplicates. Default: what was held, and the effects in the second before a fault, whose acks may have been under way. */
  readonly bound?: number;
  /** A task that waits for longer than this, while others pass it, is stuck. Lease and patience, in ms. */
  readonly stuckMs: number;
}

/** Compares what was confirmed with what was done. Reads the audit's file and the streams, never a counter of the product. */
export async function judge(cell: Cell, scene: Scene, ledger: Ledger): Promise<Verdict> {
  const { faults, load } = scene;
  const queues = [scene.queue, scene.doomedQueue];
  const found = await Promise.all(queues.map((queue) => leftovers(scene.site.connection, queue)));
  const own = cell.bound?.(scene, ledger);
  const stuckMs = load.leaseMs + load.patienceMs;
  const verdict = conclude({ ledger, found, faults, stuckMs, ...(own === undefined ? {} : { bound: own }) });
  return { ...verdict, problems: [...verdict.problems, ...((await cell.judge?.(scene, ledger)) ?? [])] };
}

/** The rules that hold for every cell. */
export function conclude({ ledger, found, faults, bound: own, stuckMs }: Evidence): Verdict {
  const held = faults.reduce((sum, fault) => sum + fault.held, 0);
  const moments = faults.map(({ at }) => at);
  const bound = own ?? held + effectsBefore(ledger, moments);
  const repeated = duplicates(ledger);
  const problems = [
    ...fates(ledger, found, stuckMs),
    ...problem('duplicates', repeated - bound, `${repeated} duplicates, ${bound} are allowed`),
    ...problem('refused', ledger.refused.length, `refused: ${[...new Set(ledger.refused)].join(', ')}`),
  ];
  return { problems, confirmed: ledger.confirmed.size, duplicates: repeated, bound, held, recovery: recovery(ledger, moments[0] ?? 0) };
}

function fates(ledger: Ledger, found: readonly Leftovers[], stuckMs: number): Problem[] {
  const waits = (key: string) => found.some(({ lane, timers }) => lane.has(key) || timers.has(key));
  const dead = (key: string) => found.some((left) => left.dead.has(key));
  const without = missing(ledger);
  const doomed = [...ledger.confirmed].filter(([key, task]) => task.dead && !dead(key)).map(([key]) => key);
  const stuck = new Set([...without, ...doomed].filter(waits));
  for (const { lane, timers } of found) for (const key of [...lane, ...timers]) stuck.add(key);
  for (const key of overtaken(ledger, stuckMs)) stuck.add(key);
  const buried = [...ledger.confirmed].filter(([key, task]) => !task.dead && dead(key)).map(([key]) => key);
  const lost = [...without, ...doomed].filter((key) => !waits(key) && !dead(key));
  return [
    ...problem('lost', lost.length, `lost, such as ${lost[0]}`),
    ...problem('stuck', stuck.size, `stuck, such as ${[...stuck][0]}`),
    ...problem('dead', buried.length, `given up, such as ${buried[0]}`),
  ];
}

async function leftovers(connection: Connection, queue: string): Promise<Leftovers> {
  const { names } = connection;
  const keys = async (stream: string, filter: string) => {
    const { streams } = await connection.admin();
    const info = await streams.info(stream, { subjects_filter: filter }).catch(() => undefined);
    return Object.keys(info?.state.subjects ?? {}).map((subject) => subject.slice(subject.lastIndexOf('.') + 1));
  };
  const [lane, timers, due, dead] = await Promise.all([
    keys(names.lane(queue, 'normal').stream, '>'),
    keys(names.schedules, names.timer(queue, '*')),
    keys(names.schedules, names.due(queue, 'normal', '*')),
    keys(names.deadLetters, names.dead(queue, '*')),
  ]);
  return { lane: new Set(lane), timers: new Set([...timers, ...due]), dead: new Set(dead) };
}

/** Messages of the run's queues in lanes and among timers, and its dead letters; undefined while the server does not answer. */
export async function countLeft(scene: Scene): Promise<{ waiting: number; letters: number } | undefined> {
  const { connection } = scene.site;
  if (connection.state !== 'connected') return undefined;
  const { names } = connection;
  const doomed = scene.mix.some((mix) => mix.doomed);
  try {
    const { streams } = await connection.admin();
    const count = async (stream: string, filter: string) => {
      const { subjects = {} } = (await streams.info(stream, { subjects_filter: filter })).state;
      return Object.keys(subjects).length;
    };
    const lane = async (stream: string) => (await streams.info(stream)).state.messages;
    const lanes = await Promise.all([lane(scene.lane.stream), doomed ? lane(scene.doomedLane.stream) : 0]);
    const waiting = lanes[0] + lanes[1];
    // The rest is listed subject by subject: not while there is something to do anyway.
    if (waiting > 0) return { waiting, letters: 0 };
    const [timers, due, own, others] = await Promise.all([
      count(names.schedules, names.timer(scene.queue, '*')),
      count(names.schedules, names.due(scene.queue, 'normal', '*')),
      count(names.deadLetters, names.dead(scene.queue, '*')),
      doomed ? count(names.deadLetters, names.dead(scene.doomedQueue, '*')) : 0,
    ]);
    return { waiting: timers + due, letters: own + others };
  } catch {
    return undefined;
  }
}
