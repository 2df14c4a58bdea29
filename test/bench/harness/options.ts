import { parseArgs } from 'node:util';
import { type SuiteName, suites } from '../suites.js';

export interface BenchOptions {
  suites: SuiteName[];
  quick: boolean;
  /** Measure no product side: the baselines alone. */
  baselines: boolean;
  rounds: number;
  json?: string;
  chart?: string;
}

export const usage = `usage: npm run bench -- [options]
  --suite LIST   suites to run, separated by commas: ${Object.keys(suites).join(', ')} (default all)
  --rounds N     rounds per suite; each one measures every side once (default 5, with --quick 1)
  --quick        a few seconds per suite, to see that it works; its figures are no measurement
  --baselines    measure the baselines only, without building or running the product
  --json FILE    also write the figures to FILE
  --chart FILE   also draw the pickup times of suite priority, as SVG
`;

/** Reads the command line. @throws Error that names the option at fault */
export function parseOptions(args: string[]): BenchOptions {
  const { values } = parseArgs({
    args,
    options: {
      suite: { type: 'string', default: Object.keys(suites).join(',') },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      baselines: { type: 'boolean', default: false },
      json: { type: 'string' },
      chart: { type: 'string' },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds expects a whole number from 1, got "${values.rounds}"`);
  const { quick, baselines, json, chart } = values;
  return {
    suites: values.suite.split(',').map(suiteName),
    quick,
    baselines,
    rounds,
    ...(json === undefined ? {} : { json }),
    ...(chart === undefined ? {} : { chart }),
  };
}

function suiteName(name: string): SuiteName {
  const trimmed = name.trim();
  if (!Object.hasOwn(suites, trimmed)) throw new Error(`--suite expects ${Object.keys(suites).join(', ')}, got "${trimmed}"`);
  return trimmed as SuiteName;
}
