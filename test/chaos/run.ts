import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cell, type Control, type Problem, problem } from './cell.js';
import { readLedger } from './ledger.js';
import { Scene } from './scene.js';
import { countedByAnalytics, serviceProblems } from './services.js';
import type { Load } from './setting.js';
import type { Site } from './site.js';
import { countLeft, judge, type Verdict } from './verdict.js';

/** A run and what came of it. */
export interface RunResult extends Verdict {
  readonly cell: string;
  /** What was switched off, if anything. */
  readonly control?: Control;
  /** Confirmed tasks a second, while the load lasted. */
  readonly rate: number;
  readonly tookMs: number;
  /** Effects, and how many of them analytics has counted as completed tasks; undefined for a control, and when it did not answer. */
  readonly effects: number;
  readonly counted?: number | undefined;
}

export interface RunOrder {
  readonly cell: Cell;
  readonly control?: Control;
  readonly load: Load;
  /** Name of the run's queue; no two runs on one site may share it. */
  readonly queue: string;
  /** Folder for a copy of the audit's file. */
  readonly keep?: string;
}

const LOOK_MS = 100;
/** Nothing waits and nothing is done for so long: what has no effect by then will have none. */
const QUIET_MS = 2000;

/** Loads a site, breaks something, waits until everything is over it, and judges. */
export async function run(site: Site, { cell, control, load, queue, keep }: RunOrder): Promise<RunResult> {
  const began = performance.now();
  const scene = new Scene(site, cell, control, load, queue);
  try {
    await scene.prepare();
    await cell.before?.(scene);
    await scene.start();
    await control?.before?.(scene);
    scene.producer.go();
    await reached(scene, Math.round(load.rate * load.seconds * (cell.faultAt ?? 0.4)));
    await cell.fault(scene);
    const { ms } = await scene.producer.done();
    const settled = await settle(scene);
    const zombies = settled || control?.shows === 'zombies' ? await rollCall(scene) : [];
    if (keep !== undefined) await copyFile(scene.audit.file, join(keep, `${queue}.log`));
    const services = control ? [] : await serviceProblems(scene);
    const { effects } = await scene.audit.state();
    const counted = control ? undefined : await countedByAnalytics(scene, effects);
    const verdict = await judge(cell, scene, await readLedger(scene.audit.file));
    return {
      ...verdict,
      problems: [...verdict.problems, ...zombies, ...services],
      effects,
      counted,
      cell: cell.name,
      ...(control ? { control } : {}),
      rate: verdict.confirmed / (ms / 1000),
      tookMs: performance.now() - began,
    };
  } finally {
    await control?.after?.(scene);
    await scene.close();
  }
}

/** Waits until so many tasks are confirmed or refused, or the load is over. */
async function reached(scene: Scene, count: number): Promise<void> {
  for (;;) {
    const { confirmed, refused } = await scene.audit.state();
    if (confirmed + refused >= count || scene.producer.finished) return;
    await sleep(LOOK_MS / 4);
  }
}

/** Waits until nothing is left to do. @returns false when nothing has gone on for longer than patience lasts */
async function settle(scene: Scene): Promise<boolean> {
  const patience = scene.off ? 3 * scene.load.leaseMs + 2000 : scene.load.leaseMs + scene.load.patienceMs;
  let last = '';
  let since = performance.now();
  for (;;) {
    const [state, left] = await Promise.all([scene.audit.state(), countLeft(scene)]);
    const empty = left !== undefined && left.waiting === 0 && left.letters >= state.doomed;
    if (empty && state.outstanding === 0) return true;
    const now = `${state.effects} ${left?.waiting} ${left?.letters}`;
    if (now !== last) since = performance.now();
    last = now;
    const quiet = performance.now() - since;
    if (left?.waiting === 0 && quiet > QUIET_MS + 2 * scene.workMs) return true;
    if (quiet > patience) return false;
    await sleep(LOOK_MS);
  }
}

const CALL_MS = 300;
const CALLED = 24;

/** Every worker that lives must still take tasks. */
async function rollCall(scene: Scene): Promise<Problem[]> {
  const began = Date.now();
  const living = () => scene.workers.filter(({ alive }) => alive).map(({ name }) => name);
  let silent = living();
  // A slow machine lets nobody die: time is short only where somebody has to be found dead.
  const deadline = performance.now() + scene.load.leaseMs + (scene.off ? 8000 : 30_000);
  while (silent.length > 0 && performance.now() < deadline) {
    scene.producer.more(CALLED, { ms: 50 });
    await sleep(CALL_MS);
    const { workers } = await scene.audit.state();
    silent = living().filter((name) => (workers[name] ?? 0) <= began);
  }
  await settle(scene);
  return problem('zombies', silent.length, `live and do nothing: ${silent.join(', ')}`);
}
