import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Cell } from './cell.js';
import type { Load } from './setting.js';

export interface ChaosOptions {
  readonly cells: readonly Cell[];
  readonly load: Load;
  readonly jsonFile: string | undefined;
  readonly docs: boolean;
  readonly keep: string | undefined;
  readonly atOnce: number;
}

// A process that gets a fifth of a processor is behind by seconds: a shorter lease would judge the machine.
const DEFAULTS = { seconds: 30, rate: 10_000, lease: 10, patience: 60 };

export const usage = (cells: readonly Cell[]): string => `npm run chaos [-- OPTIONS]

  --cell NAME      only this cell; may be given several times
  --seconds N      length of the load per cell (default ${DEFAULTS.seconds})
  --rate N         tasks a second asked for (default ${DEFAULTS.rate})
  --lease N        lease in seconds (default ${DEFAULTS.lease})
  --at-once N      runs side by side, where cells allow it (default 1)
  --keep DIR       keeps what was confirmed and done, one file per run
  --json FILE      also writes all figures there
  --write-docs     also writes these rows into the table of docs/reliability.md

Cells:
${cells.map(({ name, breaks }) => `  ${name.padEnd(20)} ${breaks}`).join('\n')}
`;

/** @throws Error that says which option is wrong */
export function parseOptions(args: readonly string[], all: readonly Cell[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cell: { type: 'string', multiple: true },
      seconds: { type: 'string' },
      rate: { type: 'string' },
      lease: { type: 'string' },
      'at-once': { type: 'string' },
      keep: { type: 'string' },
      json: { type: 'string' },
      'write-docs': { type: 'boolean' },
    },
  });
  const names = values.cell ?? all.map(({ name }) => name);
  const cells = names.map((name) => {
    const cell = all.find((candidate) => candidate.name === name);
    if (!cell) throw new Error(`there is no cell "${name}"; there are: ${all.map((candidate) => candidate.name).join(', ')}`);
    return cell;
  });
  const number = (name: 'seconds' | 'rate' | 'lease' | 'at-once', fallback: number) => positive(name, values[name], fallback);
  return {
    cells,
    load: {
      rate: number('rate', DEFAULTS.rate),
      seconds: number('seconds', DEFAULTS.seconds),
      leaseMs: number('lease', DEFAULTS.lease) * 1000,
      patienceMs: DEFAULTS.patience * 1000,
    },
    jsonFile: path(values.json),
    keep: path(values.keep),
    docs: values['write-docs'] === true,
    atOnce: number('at-once', 1),
  };
}

/** Relative to where the user called npm. */
const path = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : resolve(process.env.INIT_CWD ?? process.cwd(), text);

function positive(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`expected --${name} to be a number above 0, got "${text}"`);
}
