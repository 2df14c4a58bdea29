import { type Connection, countFrom, countMessages, type JobRun, type LaneInfo, laneInfo } from '@jetlane/jetstream';
import { isLane, type Lane, type QueueJob } from '@jetlane/protocol';
import { type PlannedPlace, whereIs } from './selection.js';

const LOOK_MS = 500;

/**
 * Waits until a queue is worked off; changes nothing. A copy that takes it over looks for itself, so a crash leaves nothing behind.
 * Without `select.scheduled` it covers what stood in the lanes when it began, else all there is.
 */
export async function drain(connection: Connection, run: JobRun<QueueJob>): Promise<void> {
  const before = run.job.left.count;
  while (run.going) {
    const { left, waitsFor } = await run.retry(() => look(connection, run.job));
    run.set({ left: { count: left, exact: true }, waitsFor, done: Math.max(run.job.done, before - left) });
    if (waitsFor.length === 0) return run.end('completed');
    await run.wait(LOOK_MS);
  }
}

/** What a drain still waits for, and why. */
export async function look(
  connection: Connection,
  job: Pick<QueueJob, 'queue' | 'plan' | 'select'>,
): Promise<{ left: number; waitsFor: string[] }> {
  const { queue, select } = job;
  const { names } = connection;
  const lanes = (job.plan as readonly PlannedPlace[]).filter((planned): planned is { place: Lane; until: number } => isLane(planned.place));
  const looks = await Promise.all(lanes.map((planned) => lookAtLane(connection, queue, planned, select.scheduled === true)));
  let left = looks.reduce((sum, lane) => sum + lane.left, 0);
  const waitsFor = new Set(looks.flatMap((lane) => lane.waitsFor));
  if (select.scheduled) {
    const [timers, due] = await Promise.all([
      countMessages(connection, names.schedules, names.timer(queue, '*')),
      countMessages(connection, names.schedules, names.pattern(`due.${queue}.*.*`)),
    ]);
    left += timers + due;
    if (timers > 0) waitsFor.add('timers');
    if (due > 0) waitsFor.add('scheduler');
  }
  return { left, waitsFor: [...waitsFor] };
}

async function lookAtLane(connection: Connection, queue: string, { place, until }: { place: Lane; until: number }, all: boolean) {
  const info = await laneInfo(connection, queue, place);
  // The leader says whether something is left; how much is for the eye, and may come from a replica.
  if (info.depth === 0 || (!all && info.firstSequence > until)) return { left: 0, waitsFor: [] };
  const { stream, subject } = whereIs(connection, queue, place);
  const newer = all ? 0 : await countFrom(connection, stream, subject, until + 1);
  return { left: Math.max(1, info.depth - newer), waitsFor: reasons(info) };
}

function reasons({ ackPending, pending, paused, openPulls }: LaneInfo): string[] {
  const found: string[] = [];
  if (ackPending > 0) found.push('running-tasks');
  if (paused) found.push('resume');
  else if (pending > 0) found.push(openPulls === 0 && ackPending === 0 ? 'workers' : 'waiting-tasks');
  return found.length > 0 ? found : ['waiting-tasks'];
}
