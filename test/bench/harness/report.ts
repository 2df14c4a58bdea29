import type { StoredShape } from './contract.js';
import type { Line } from './figures.js';
import { median } from './measure.js';
import type { Results } from './runner.js';

/**
 * What the bare loops reach on the machine whose figures our targets were set on (tasks/s: the lower end of its runs). Ratios are measured in
 * one run and hold anywhere; these only tell a reader whether his absolute figures can be compared with ours.
 */
const REFERENCE: Record<string, number> = { enqueue: 54_000, process: 42_000 };
const SAME_MACHINE = 0.8;
/** Fastest round over slowest of one baseline that a quiet machine stays below. */
const QUIET_SPREAD = 1.3;

const COLUMNS = ['suite', 'metric', 'median', 'min - max', 'unit', 'baseline', 'its median', 'ratio', 'min - max'];
const NUMERIC = new Set([2, 3, 6, 7, 8]);

/** The lines as a table of text. */
export function table(lines: Line[]): string {
  const rows = [COLUMNS, ...lines.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const text = rows.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column]!, NUMERIC.has(column)))
      .join('  ')
      .trimEnd(),
  );
  text.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return text.join('\n');
}

/** What a reader must know to judge the lines: a slower machine than the reference, or sides that did not store the same. */
export function remarks(name: string, results: Results): string[] {
  return [...slowerMachine(name, results), ...busyMachine(name, results), ...differentBytes(name, results)];
}

/** A baseline does the same work in every round: when its rates lie far apart, something else was using the machine. */
function busyMachine(name: string, results: Results): string[] {
  const rates = (results.get('wire') ?? results.get('fastify') ?? []).flatMap(({ values }) => values.rate ?? []);
  const spread = Math.max(...rates) / Math.min(...rates);
  if (!(spread > QUIET_SPREAD)) return [];
  return [
    `${name}: the machine was busy: the same baseline differed by a factor of ${spread.toFixed(2)} between rounds; close other programs and take more rounds`,
  ];
}

function slowerMachine(name: string, results: Results): string[] {
  const reference = REFERENCE[name];
  const rates = (results.get('wire') ?? []).map(({ values }) => values.rate!);
  if (reference === undefined || rates.length === 0) return [];
  const factor = median(rates) / reference;
  if (factor >= SAME_MACHINE) return [];
  return [`${name}: this machine is slower than the reference: the bare loop reaches ${factor.toFixed(2)} of ${reference} tasks/s there`];
}

function differentBytes(name: string, results: Results): string[] {
  const all = [...results].flatMap(([run, rounds]) =>
    Object.entries(rounds[0]?.shapes ?? {}).map(([part, shape]) => ({ run, part, shape })),
  );
  return all.flatMap(({ run, part, shape }) => {
    const model = all.find((other) => other.part === part && (other.run === 'wire' || other.run === 'fastify'));
    if (model === undefined || sameShape(model.shape, shape)) return [];
    return [
      `${name}: the ${part} of "${run}" differs from the one of "${model.run}": ${JSON.stringify(shape)} beside ${JSON.stringify(model.shape)}`,
    ];
  });
}

/** Ids, host names and times differ in length by some bytes; a header more or less, or another body, is a difference. */
function sameShape(model: StoredShape, shape: StoredShape): boolean {
  const near = (one: number, other: number) => Math.abs(one - other) <= Math.max(8, one * 0.1);
  const names = (of: StoredShape) => [...of.headers].sort().join();
  return (
    model.subject === shape.subject &&
    names(model) === names(shape) &&
    near(model.bodyBytes, shape.bodyBytes) &&
    near(model.headerBytes, shape.headerBytes)
  );
}

function cells(line: Line): string[] {
  const versus =
    line.baselineValue === null
      ? ['', '', '', '']
      : [line.baseline!, figure(line.baselineValue), line.ratio!.toFixed(2), span(line.ratioRange!, 2)];
  return [line.suite, line.metric, figure(line.value), span(line.range), line.unit, ...versus];
}

function span([low, high]: [number, number], digits?: number): string {
  const show = (value: number) => (digits === undefined ? figure(value) : value.toFixed(digits));
  return `${show(low)} - ${show(high)}`;
}

function figure(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3);
}

function pad(cell: string, width: number, right: boolean): string {
  return right ? cell.padStart(width) : cell.padEnd(width);
}
