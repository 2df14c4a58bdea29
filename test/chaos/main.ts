import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CELLS } from './cells/index.js';
import { parseOptions, usage } from './options.js';
import { json, runLine, table, writeDocs } from './report.js';
import type { RunResult } from './run.js';
import { isGreen, runSuite } from './suite.js';

const DOCS = join(fileURLToPath(new URL('../..', import.meta.url)), 'docs', 'reliability.md');

/**
 * Breaks things and looks whether everything is still there. Progress goes to standard error, the table to standard output.
 * @returns the exit code: 1 when a cell fails, or when a control does not
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(usage(CELLS));
    return 0;
  }
  const { cells, load, jsonFile, docs, atOnce, keep } = parseOptions(args, CELLS);
  const began = performance.now();
  if (keep !== undefined) await mkdir(keep, { recursive: true });
  const onRun = (result: RunResult) => void process.stderr.write(`${runLine(result)}\n`);
  const results = await runSuite({ cells, load, atOnce, onRun, ...(keep === undefined ? {} : { keep }) });
  process.stdout.write(`\n${table(results)}\n`);
  if (jsonFile !== undefined) await writeFile(jsonFile, json(results, load));
  const order = CELLS.map(({ name }) => name);
  if (docs) await writeDocs(DOCS, results, load, order);
  const red = results.filter((result) => !isGreen(result)).map(({ cell }) => cell.name);
  const took = `${Math.round((performance.now() - began) / 1000)} s`;
  process.stdout.write(red.length === 0 ? `\nall ${results.length} green, ${took}\n` : `\nRED: ${red.join(', ')}; ${took}\n`);
  return red.length === 0 ? 0 : 1;
}
