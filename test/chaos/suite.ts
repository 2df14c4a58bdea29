import type { Cell } from './cell.js';
import { type RunOrder, type RunResult, run } from './run.js';
import type { Load } from './setting.js';
import { Site } from './site.js';

/** A cell's run with everything on, and one for each protection that is switched off. */
export interface CellResult {
  readonly cell: Cell;
  readonly result: RunResult;
  readonly controls: readonly RunResult[];
}

export interface SuiteOptions {
  readonly cells: readonly Cell[];
  readonly load: Load;
  /** Runs that may go on side by side, where cells concern their own queue only. Default 1, and 3 for controls. */
  readonly atOnce?: number;
  /** Folder for copies of the audit's files. */
  readonly keep?: string;
  /** Told of every run that has ended. */
  readonly onRun?: (result: RunResult) => void;
}

/** A control has to show what its protection prevents; more work than that shows is a waste. */
const CONTROL_RATE = 1000;
const CONTROL_SECONDS = 5;
const CONTROL_LEASE_MS = 5000;
const CONTROLS_AT_ONCE = 3;

/** A run is as it must be: all is well, or without a protection something is wrong, and in the way that was foretold. */
export function asItMust({ control, problems }: RunResult): boolean {
  return control ? problems.some(({ kind }) => kind === control.shows) : problems.length === 0;
}

export const isGreen = ({ result, controls }: CellResult): boolean => [result, ...controls].every(asItMust);

/** Runs cells: those on one server first, those that break more than their own queue by themselves. */
export async function runSuite(options: SuiteOptions): Promise<CellResult[]> {
  const results = new Map<Cell, RunResult[]>();
  for (const clustered of [false, true]) {
    const cells = options.cells.filter((cell) => (cell.clustered ?? false) === clustered);
    if (cells.length > 0) await runOnSite(cells, clustered, options, results);
  }
  return options.cells.map((cell) => {
    const runs = results.get(cell)!;
    return { cell, result: runs.find(({ control }) => !control)!, controls: runs.filter(({ control }) => control) };
  });
}

async function runOnSite(
  cells: readonly Cell[],
  clustered: boolean,
  options: SuiteOptions,
  results: Map<Cell, RunResult[]>,
): Promise<void> {
  const site = await Site.open(clustered);
  const one = async (order: RunOrder) => {
    const result = await run(site, options.keep === undefined ? order : { ...order, keep: options.keep }).catch(brokenOff(order));
    options.onRun?.(result);
    results.set(order.cell, [...(results.get(order.cell) ?? []), result]);
  };
  const { atOnce = 1 } = options;
  const controls = cells.flatMap((cell) => controlsOf(cell, options.load));
  const proper = cells.map((cell) => properOf(cell, options.load));
  const together = ({ cell }: RunOrder) => !cell.alone;
  try {
    // A fault that harms nobody shows nothing when it is withstood: what it does without a protection is seen first.
    await pool(controls.filter(together), Math.max(atOnce, CONTROLS_AT_ONCE), one);
    await pool(proper.filter(together), atOnce, one);
    for (const order of [...controls, ...proper].filter(({ cell }) => cell.alone)) await one(order);
  } finally {
    await site.close();
  }
}

/** A run that could not be brought to its end is red, and the others go on. */
const brokenOff =
  ({ cell, control }: RunOrder) =>
  (error: unknown): RunResult => ({
    cell: cell.name,
    ...(control ? { control } : {}),
    problems: [{ kind: 'broken', count: 1, text: error instanceof Error ? (error.stack ?? error.message) : String(error) }],
    confirmed: 0,
    duplicates: 0,
    bound: 0,
    held: 0,
    recovery: { p99: 0, gap: 0 },
    rate: 0,
    effects: 0,
    tookMs: 0,
  });

function properOf(cell: Cell, load: Load): RunOrder {
  const { rate = load.rate, seconds = load.seconds } = cell.most ?? {};
  const most = { ...load, rate: Math.min(load.rate, rate), seconds: Math.min(load.seconds, seconds) };
  return { cell, load: most, queue: cell.name.replaceAll('-', '_') };
}

function controlsOf(cell: Cell, load: Load): RunOrder[] {
  const { load: most, queue } = properOf(cell, load);
  const less = {
    ...most,
    rate: Math.min(most.rate, CONTROL_RATE),
    seconds: Math.min(most.seconds, CONTROL_SECONDS),
    leaseMs: Math.min(most.leaseMs, CONTROL_LEASE_MS),
  };
  return cell.controls.map((control, i) => ({ cell, control, load: less, queue: `${queue}_off${i + 1}` }));
}

async function pool<T>(items: readonly T[], size: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const one = async () => {
    for (let item = left.shift(); item; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: size }, one));
}
