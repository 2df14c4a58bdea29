import { readFileSync } from 'node:fs';
import { type Connection, callCommand, TaskStore } from '@jetlane/jetstream';
import { type CommandInput, type CommandOutput, SEARCH_COMMANDS, type StateRecord } from '@jetlane/protocol';
import { expectCount, type Job, type Measurement, QUEUE } from '../harness/contract.js';
import { cpuMillis } from '../harness/measure.js';
import { startService } from './service-process.js';
import { openSession } from './session.js';

const IN_FLIGHT = 2000;
const TYPES = 5;
/** Every fifth task failed, each with a text of its own. */
const FAILED_EVERY = 5;
const HOUR = 3_600_000;

/** Finished tasks are written down, a queue-manager takes them into its projection, and then they are searched. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'search');
  try {
    await finishTasks(session.connection, job.count);
    return { values: await measure(session.connection, job) };
  } finally {
    await session.close();
  }
}

async function finishTasks(connection: Connection, count: number): Promise<void> {
  const store = new TaskStore(connection);
  for (let from = 0; from < count; from += IN_FLIGHT) {
    const some = Array.from({ length: Math.min(IN_FLIGHT, count - from) }, (_, i) => recordOf(from + i));
    await Promise.all(some.map((record) => store.writeRecord(QUEUE, record.id.slice(QUEUE.length + 1), record, HOUR)));
  }
}

function recordOf(index: number): StateRecord {
  const failed = index % FAILED_EVERY === 0;
  const now = Date.now();
  const message = `connection to 10.0.${index % 255}.7 timed out after ${index} ms while payment ${(index * 7919) % 1_000_003} was booked`;
  return {
    ...{ id: `${QUEUE}.0qXb3kT9mZ4uV7wR1s${String(index).padStart(9, '0')}`, hop: 1, lane: 'normal', attempt: 1, worker: 'bench-1' },
    ...{ type: `type-${Math.floor(index / FAILED_EVERY) % TYPES}`, state: failed ? 'dead' : 'completed' },
    at: { created: now, stored: now, fetched: now, started: now, finished: now },
    ...(failed ? { error: { name: 'TimeoutError', message }, reason: 'attempts-exhausted' } : { result: { ok: true } }),
  };
}

async function measure(connection: Connection, job: Job): Promise<Record<string, number>> {
  const manager = await startService(job, 'queue-manager', 'QUEUE_MANAGER_PORT');
  try {
    const startedAt = performance.now();
    const cpu = cpuMillis(manager.pid);
    const built = await untilCurrent(connection);
    const seconds = (performance.now() - startedAt) / 1000;
    expectCount('tasks in the projection', built.rows, job.count);
    return {
      rate: job.count / seconds,
      clientCpu: (cpuMillis(manager.pid) - cpu) / (job.count / 1000),
      megabytes: built.bytes / 1e6,
      ...(await searches(connection)),
      rss: residentMegabytes(manager.pid),
    };
  } finally {
    await manager.stop();
  }
}

async function untilCurrent(connection: Connection): Promise<CommandOutput<typeof SEARCH_COMMANDS.status>> {
  for (;;) {
    const status = await callCommand(connection, SEARCH_COMMANDS.status, {}, 'bench').catch(() => undefined);
    if (status?.state === 'failed') throw new Error(`the projection failed: ${status.detail}`);
    if (status?.state === 'current') return status;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function searches(connection: Connection): Promise<Record<string, number>> {
  const first = (more: Partial<Search>) => firstResult(connection, more);
  const type = 'type-0';
  return {
    newest: await first({ state: 'completed,dead' }),
    common: await first({ type, error: 'timed out' }),
    oldest: await first({ type, error: 'after 0 ms' }),
    none: await first({ type, error: 'no such text' }),
    'any type': await first({ error: 'no such text' }),
    completed: await first({ type, state: 'completed', lane: 'low' }),
  };
}

type Search = CommandInput<typeof SEARCH_COMMANDS.tasks>;

/** Time until the first page with a result, or until it is clear that there is none, ms. */
async function firstResult(connection: Connection, more: Partial<Search>): Promise<number> {
  const startedAt = performance.now();
  for (let cursor: string | undefined; ; ) {
    const input = { limit: 50, ...more, ...(cursor ? { cursor } : {}) };
    const page = await callCommand(connection, SEARCH_COMMANDS.tasks, input, 'bench');
    cursor = page.cursor;
    if (page.items.length > 0 || cursor === undefined) return performance.now() - startedAt;
  }
}

/** NaN where there is no /proc. */
function residentMegabytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1000;
  } catch {
    return Number.NaN;
  }
}
