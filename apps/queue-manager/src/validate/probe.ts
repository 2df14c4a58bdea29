import { randomBytes } from 'node:crypto';
import { bodyText, type Connection, consumerState, deleteSubject, leaderGet, TaskStore } from '@jetlane/jetstream';
import { DEFAULT_LANE, HEADER, type Heartbeat, type Lane, type QueueDefinition } from '@jetlane/protocol';
import { type Finding, failure, ok, warning } from './finding.js';

/** Type of the probe; no handler ever sees it. */
export const PROBE_TYPE = 'jetlane-probe';
const POLL_MS = 25;
/** Heartbeats come once a second, and at once when asked for. */
const HEARTBEAT_MS = 1100;

/** How many workers each queue has, as they tell it themselves. */
export async function workersOf(connection: Connection): Promise<Map<string, number>> {
  const seen = new Map<string, Set<string>>();
  const stop = connection.subscribe(connection.names.pattern('heartbeats.*.*'), (message) => {
    const { queue, worker, stopping } = JSON.parse(bodyText(message)) as Heartbeat;
    if (!stopping) seen.set(queue, (seen.get(queue) ?? new Set()).add(worker));
  });
  connection.send(connection.names.heartbeatPing());
  await new Promise((resolve) => setTimeout(resolve, HEARTBEAT_MS));
  stop();
  return new Map([...seen].map(([queue, workers]) => [queue, workers.size]));
}

/**
 * Sends a task through a queue: stored, delivered to a worker, settled, gone from its lane. Its deadline was over when it was sent, so the
 * worker that gets it settles it as expired and calls no handler. Nothing of it stays behind.
 */
export async function probeQueue(
  connection: Connection,
  definition: QueueDefinition,
  workers: number,
  timeoutMs: number,
): Promise<Finding> {
  const queue = definition.name;
  if (workers === 0)
    return warning(
      'probe',
      `queue "${queue}": no worker runs, so no task was sent`,
      `start a worker for it (WORKER_QUEUES of the worker host)`,
    );
  const lane: Lane = definition.discipline === 'fifo' ? DEFAULT_LANE : 'critical';
  const { stream, consumer } = connection.names.lane(queue, lane);
  if ((await consumerState(connection, stream, consumer))?.paused)
    return warning('probe', `queue "${queue}" is paused, so no task was sent`, 'resume it when it should work');
  const key = `probe-${randomBytes(9).toString('hex')}`;
  const subject = connection.names.task(queue, lane, key);
  const began = performance.now();
  try {
    await send(connection, queue, lane, key);
    while (performance.now() - began < timeoutMs) {
      if (!(await leaderGet(connection, stream, subject)))
        return ok(
          'probe',
          `queue "${queue}": a task went through one of ${workers} workers in ${Math.round(performance.now() - began)} ms`,
        );
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return failure(
      'probe',
      `queue "${queue}": ${workers} workers run, and a task was not settled within ${timeoutMs} ms`,
      'see /health/ready of its workers: all slots may be taken, a limit may let nothing start, or a lane may be stuck',
    );
  } catch (error) {
    return failure(
      'probe',
      `queue "${queue}" does not take a task: ${(error as Error).message}`,
      'see the findings about streams and limits',
    );
  } finally {
    await removeTraces(connection, queue, lane, key).catch(() => undefined);
  }
}

function send(connection: Connection, queue: string, lane: Lane, key: string): Promise<unknown> {
  const now = Date.now();
  const headers = [
    [HEADER.type, PROBE_TYPE],
    [HEADER.createdAt, String(now)],
    // Clocks of workers may be slow.
    [HEADER.deadline, String(now - 86_400_000)],
  ] as [string, string][];
  return new TaskStore(connection).publishTask(queue, lane, key, { headers, data: '{}', hop: 1 });
}

/** The task, where no worker took it, and its record. */
async function removeTraces(connection: Connection, queue: string, lane: Lane, key: string): Promise<void> {
  const { names } = connection;
  await deleteSubject(connection, names.lane(queue, lane).stream, names.task(queue, lane, key));
  await deleteSubject(connection, names.taskStates, names.state(queue, key));
}
