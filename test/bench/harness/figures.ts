import type { Baseline, Row, Suite } from '../suites.js';
import { median } from './measure.js';
import type { Results } from './runner.js';

/** One line of the JSON file. */
export interface Figure {
  suite: string;
  metric: string;
  value: number;
  unit: string;
  baseline: Baseline | null;
  /** Value over the baseline's, the median of the rounds' own ratios; null without a baseline. */
  ratio: number | null;
}

/** A figure with what the table shows besides. */
export interface Line extends Figure {
  range: [number, number];
  baselineValue: number | null;
  ratioRange: [number, number] | null;
}

/** Turns measurements into lines, in the order of the suite's rows; rows of runs that were left out are left out. */
export function linesOf(name: string, suite: Suite, results: Results): Line[] {
  return suite.rows.flatMap((row) => {
    const values = valuesOf(results, row.run, row.field);
    if (values.length === 0) return [];
    const line: Line = {
      suite: name,
      metric: row.metric,
      value: median(values),
      range: rangeOf(values),
      unit: row.unit,
      baseline: null,
      baselineValue: null,
      ratio: null,
      ratioRange: null,
    };
    const compared = Object.entries(row.against ?? {}).flatMap(([baseline, run]) =>
      compare(line, values, baseline as Baseline, row, run, results),
    );
    return compared.length > 0 ? compared : [line];
  });
}

/** Rounds are compared one by one before the median is taken, since neighbours in time share the machine's mood. */
function compare(line: Line, values: number[], baseline: Baseline, row: Row, run: string, results: Results): Line[] {
  const others = valuesOf(results, run, row.baselineField ?? row.field);
  if (others.length === 0) return [];
  const ratios = values.map((value, round) => value / others[round]!);
  return [{ ...line, baseline, baselineValue: median(others), ratio: median(ratios), ratioRange: rangeOf(ratios) }];
}

function valuesOf(results: Results, run: string, field: string): number[] {
  return (results.get(run) ?? [])
    .map(({ values }) => values[field])
    .filter((value) => value !== undefined && Number.isFinite(value)) as number[];
}

function rangeOf(values: number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** The part of a line that goes to the JSON file, rounded to four significant digits. */
export function figureOf({ suite, metric, value, unit, baseline, ratio }: Line): Figure {
  return { suite, metric, value: rounded(value), unit, baseline, ratio: ratio === null ? null : rounded(ratio) };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
