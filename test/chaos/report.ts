import { readFile, writeFile } from 'node:fs/promises';
import type { RunResult } from './run.js';
import type { Load } from './setting.js';
import { asItMust, type CellResult } from './suite.js';

const BEGIN = '<!-- chaos:begin -->';
const END = '<!-- chaos:end -->';

/** One line about a run, as it ends. */
export function runLine(result: RunResult): string {
  const { cell, control, tookMs, problems } = result;
  const what = control ? `${cell}, without: ${control.without}` : cell;
  const found = problems.map(({ kind, count, text }) => `${count} ${kind} (${text})`).join('; ') || 'nothing wrong';
  const seconds = `${(tookMs / 1000).toFixed(1)} s`;
  return `${asItMust(result) ? 'as it must' : 'NOT AS IT MUST'}  ${what}: ${found}  [${figures(result)}; ${seconds}]`;
}

const figures = ({ rate, confirmed, held, duplicates, bound, recovery, effects, counted }: RunResult): string =>
  `${counted === undefined ? '' : `${counted} of ${effects} effects counted by analytics, `}${confirmed} tasks at ${Math.round(rate)}/s, ${held} held, ${duplicates} of ${bound} duplicates, p99 ${recovery.p99} ms, gap ${recovery.gap} ms`;

const count = ({ problems }: RunResult, ...kinds: string[]): number =>
  problems.filter(({ kind }) => kinds.includes(kind)).reduce((sum, problem) => sum + problem.count, 0);

const HEAD = [
  'cell',
  'what is broken',
  'tasks/s',
  'tasks',
  'lost',
  'stuck',
  'duplicates / bound',
  'other',
  'recovery p99, ms',
  'longest pause, ms',
  'counted by analytics',
  'without its protection',
  '',
];

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const titled = (rows: readonly string[]): string => [line(HEAD), line(HEAD.map(() => '---')), ...rows].join('\n');
const rowsOf = (results: readonly CellResult[]): string[] => results.map((cell) => line(row(cell)));

/** The table of these cells, in Markdown. */
export const table = (results: readonly CellResult[]): string => titled(rowsOf(results));

function row({ cell, result, controls }: CellResult): string[] {
  const { rate, confirmed, duplicates, bound, recovery, problems } = result;
  const other = problems.filter(({ kind }) => !['lost', 'stuck', 'duplicates'].includes(kind));
  return [
    `\`${cell.name}\``,
    cell.breaks,
    String(Math.round(rate)),
    String(confirmed),
    String(count(result, 'lost')),
    String(count(result, 'stuck')),
    `${duplicates} / ${bound}`,
    other.map(({ kind, count }) => `${count} ${kind}`).join(', ') || '0',
    String(recovery.p99),
    String(recovery.gap),
    share(result),
    controls.map((control) => `${control.control!.without}: ${shown(control)}`).join('; '),
    [result, ...controls].every(asItMust) ? 'green' : '**red**',
  ];
}

const share = ({ counted, effects }: RunResult): string =>
  counted === undefined || effects === 0 ? '-' : `${((counted / effects) * 100).toFixed(1)} %`;

const shown = (result: RunResult): string => result.problems.map(({ kind, count }) => `${count} ${kind}`).join(', ') || '**nothing**';

const nameIn = (text: string): string => /^\| `([^`]+)` \|/.exec(text)?.[1] ?? '';

/** Rows of a page's table with new ones in place of the old, in the order of the cells. */
export function mergeRows(page: string, rows: readonly string[], order: readonly string[]): string[] {
  const known = new Map([...page.split('\n'), ...rows].map((text) => [nameIn(text), text]));
  return order.flatMap((name) => known.get(name) ?? []);
}

/** Puts the results between the marks of the table in a page; rows of other cells stay. */
export async function writeDocs(file: string, results: readonly CellResult[], load: Load, order: readonly string[]): Promise<void> {
  const page = await readFile(file, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${file} has no place for the table: ${BEGIN} … ${END}`);
  const about = `Asked for in the last run: ${load.rate} tasks/s for ${load.seconds} s, with a lease of ${load.leaseMs / 1000} s.`;
  const rows = mergeRows(page.slice(begin, end), rowsOf(results), order);
  await writeFile(file, `${page.slice(0, begin)}${BEGIN}\n${about}\n\n${titled(rows)}\n${page.slice(end)}`);
}

/** Figures of all runs, for machines. */
export function json(results: readonly CellResult[], load: Load): string {
  const plain = ({ control, ...rest }: RunResult) => ({ ...rest, ...(control ? { off: control.without, shows: control.shows } : {}) });
  const cells = results.map(({ cell, result, controls }) => ({ cell: cell.name, result: plain(result), controls: controls.map(plain) }));
  return `${JSON.stringify({ load, cells }, null, 2)}\n`;
}
