import { randomBytes } from 'node:crypto';
import type { Run, Suite } from '../suites.js';
import type { Job, Measurement } from './contract.js';
import type { BenchOptions } from './options.js';
import { runSide } from './sides.js';

/** What the runs of one suite measured: by run key, one measurement per round. */
export type Results = Map<string, Measurement[]>;

/** The results of a suite, and what the runs that failed said: these have no results. */
export interface SuiteOutcome {
  results: Results;
  failures: string[];
}

/** The servers of this run, as every job names them. */
export type Servers = Pick<Job, 'natsUrl' | 'natsPid' | 'redisPort' | 'redisPid'>;

const DURATION_MS: [full: number, quick: number] = [4000, 1500];
const WARMUP_SHARE = 0.1;
/** Between two runs, so that the deletions of the last one do not weigh on the next. */
const PAUSE_MS = 300;

/** Measures every run of a suite once per round, one after the other, in alternation (A B C A B C …). */
export async function runSuite(
  suite: Suite,
  options: BenchOptions,
  servers: Servers,
  progress: (line: string) => void,
): Promise<SuiteOutcome> {
  const failures: string[] = [];
  let runs = suite.runs.filter((run) => isWanted(run, options, servers));
  const results: Results = new Map(runs.map((run) => [run.key, []]));
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const run of runs) {
      progress(`round ${round}/${options.rounds}  ${run.side} ${run.variant ?? ''}`);
      try {
        results.get(run.key)!.push(await measureOnce(suite, run, options.quick ? 1 : 0, servers));
      } catch (error) {
        failures.push((error as Error).message);
        results.delete(run.key);
        runs = runs.filter((other) => other !== run);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
  return { results, failures };
}

function measureOnce(suite: Suite, run: Run, size: 0 | 1, servers: Servers): Promise<Measurement> {
  const count = Math.round(suite.count[size] * (run.share ?? 1));
  const namespace = `b${randomBytes(5).toString('hex')}`;
  const job = { ...servers, namespace, count, durationMs: DURATION_MS[size], variant: run.variant ?? '' };
  return runSide({ side: run.side, job, warmup: suite.warmup ? Math.round(count * WARMUP_SHARE) : 0 });
}

function isWanted(run: Run, options: BenchOptions, servers: Servers): boolean {
  if (run.side.startsWith('product/')) return !options.baselines;
  return !run.side.startsWith('bullmq/') || servers.redisPort !== 0;
}
