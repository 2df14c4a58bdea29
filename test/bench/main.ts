import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { chart } from './harness/chart.js';
import type { Daemon } from './harness/daemon.js';
import { figureOf, type Line, linesOf } from './harness/figures.js';
import { type BenchOptions, parseOptions, usage } from './harness/options.js';
import { startRedis } from './harness/redis.js';
import { remarks, table } from './harness/report.js';
import { runSuite, type Servers } from './harness/runner.js';
import { startServer } from './harness/server.js';
import { stopSides } from './harness/sides.js';
import { suites } from './suites.js';

/** Progress goes to standard error, the table to standard output. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) return void process.stdout.write(usage);
  const options = parseOptions(process.argv.slice(2));
  const started: Daemon[] = [];
  const stopAll = async () => {
    stopSides();
    await Promise.all(started.splice(0).map((daemon) => daemon.stop()));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stopAll().then(() => process.exit(130)));
  try {
    await measure(options, await startServers(options, started));
  } finally {
    await stopAll();
  }
}

async function startServers(options: BenchOptions, started: Daemon[]): Promise<Servers> {
  const nats = await startServer();
  started.push(nats);
  const servers = { natsUrl: nats.url, natsPid: nats.pid, redisPort: 0, redisPid: 0 };
  if (!options.suites.some((name) => suites[name].needsRedis)) return servers;
  const redis = await startRedis();
  if (redis === undefined) say('no redis-server found: the bullmq rows are left out (Debian: apt-get install redis-server)');
  else started.push(redis);
  return { ...servers, redisPort: redis?.port ?? 0, redisPid: redis?.pid ?? 0 };
}

async function measure(options: BenchOptions, servers: Servers): Promise<void> {
  const lines: Line[] = [];
  const notes: string[] = [];
  for (const name of options.suites) {
    const { results, failures } = await runSuite(suites[name], options, servers, (line) => say(`${name}  ${line}`));
    lines.push(...linesOf(name, suites[name], results));
    notes.push(...remarks(name, results), ...failures.map((failure) => `${name}: FAILED ${failure}`));
    if (failures.length > 0) process.exitCode = 1;
  }
  process.stdout.write(`\n${table(lines)}\n`);
  if (options.quick) notes.push('quick run: it shows that the suites work; its figures are no measurement');
  for (const note of notes) process.stdout.write(`\n! ${note}\n`);
  if (options.chart !== undefined) await write(options.chart, drawPickups(lines));
  if (options.json !== undefined) await write(options.json, `${JSON.stringify(lines.map(figureOf), null, 2)}\n`);
}

const drawPickups = (lines: Line[]): string =>
  chart(
    'From the send of a high task to the start of its handler',
    '50 slots, a handler of 10 ms; flood: low tasks from another process, ten times what the slots can do (50,000 a second asked for)',
    lines.filter(({ suite, baseline }) => suite === 'priority' && (baseline === null || baseline === 'wire' || baseline === 'idle')),
  );

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
