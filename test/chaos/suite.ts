import type { Cell, Control } from './cell.js';
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
  /** Runs that may go on side by side, where cells concern their own queue only. Default 1. */
  readonly atOnce?: number;
  /** Folder for copies of the audit's files. */
  readonly keep?: string;
  /** Told of every run that has ended. */
  readonly onRun?: (result: RunResult) => void;
}

/** A control has to show what its protection prevents; more work than that shows is a waste. */
const CONTROL_RATE = 1000;
const CONTROL_SECONDS = 5;

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
    const result = await run(site, options.keep === undefined ? order : { ...order, keep: options.keep });
    options.onRun?.(result);
    results.set(order.cell, [...(results.get(order.cell) ?? []), result]);
  };
  try {
    const orders = cells.flatMap((cell) => ordersOf(cell, options.load));
    await pool(
      orders.filter(({ cell }) => !cell.alone),
      options.atOnce ?? 1,
      one,
    );
    await pool(
      orders.filter(({ cell }) => cell.alone),
      1,
      one,
    );
  } finally {
    await site.close();
  }
}

/** The controls first: a fault that harms nobody shows nothing when it is withstood. */
function ordersOf(cell: Cell, load: Load): RunOrder[] {
  const { rate = load.rate, seconds = load.seconds } = cell.most ?? {};
  const full = { ...load, rate: Math.min(load.rate, rate), seconds: Math.min(load.seconds, seconds) };
  const less = { ...full, rate: Math.min(full.rate, CONTROL_RATE), seconds: Math.min(full.seconds, CONTROL_SECONDS) };
  const name = cell.name.replaceAll('-', '_');
  const order = (control: Control, i: number): RunOrder => ({ cell, control, load: less, queue: `${name}_off${i + 1}` });
  return [...cell.controls.map(order), { cell, load: full, queue: name }];
}

async function pool<T>(items: readonly T[], size: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const one = async () => {
    for (let item = left.shift(); item; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: size }, one));
}
