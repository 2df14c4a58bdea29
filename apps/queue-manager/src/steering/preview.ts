import { type Connection, countFrom, laneState, type StoredMessage } from '@jetlane/jetstream';
import { HEADER, headerValue, isLane, type QueuePreview, type TaskSelection } from '@jetlane/protocol';
import { fixPlaces, isCountedByServer, NOT_FIXED, type PlannedPlace, type QueueReading, readSelection, whereIs } from './selection.js';

const SAMPLE = 20;
/** A preview reads tasks for this long at most, ms: its caller waits. */
const PREVIEW_MS = 3000;

interface Seen {
  readonly count: number;
  readonly held: number;
  readonly exact: boolean;
}

/** What a job over a selection would find now. Where the server can count, nothing is read but the sample. */
export async function preview(
  connection: Connection,
  reading: QueueReading,
  select: TaskSelection,
  plan: readonly PlannedPlace[],
): Promise<QueuePreview> {
  const deadline = performance.now() + PREVIEW_MS;
  const sample: QueuePreview['sample'] = [];
  const places: Record<string, number> = {};
  const seen: Seen[] = [];
  for (const planned of plan) {
    const [fixed = planned] =
      planned.until === NOT_FIXED && isLane(planned.place)
        ? await fixPlaces(connection, reading.queue, select, [planned.place])
        : [planned];
    const found = await lookThrough(connection, reading, select, fixed, { sample, deadline });
    places[fixed.place] = found.count;
    seen.push(found);
  }
  const sum = (of: (one: Seen) => number) => seen.reduce((total, one) => total + of(one), 0);
  return {
    dryRun: true,
    matched: { count: sum(({ count }) => count), exact: seen.every(({ exact }) => exact) },
    held: sum(({ held }) => held),
    places,
    sample,
  };
}

async function lookThrough(
  connection: Connection,
  reading: QueueReading,
  select: TaskSelection,
  planned: PlannedPlace,
  { sample, deadline }: { sample: QueuePreview['sample']; deadline: number },
): Promise<Seen> {
  const { stream, subject } = whereIs(connection, reading.queue, planned.place);
  const delivered = isLane(planned.place) ? ((await laneState(connection, reading.queue, planned.place))?.deliveredSequence ?? 0) : 0;
  let [count, held, cursor, end] = [0, 0, 0, false];
  while (!end && performance.now() < deadline) {
    const page = await readSelection(connection, reading, select, planned, cursor);
    for (const message of page.found.slice(0, SAMPLE - sample.length)) sample.push(sampleOf(reading.queue, planned, message));
    count += page.found.length;
    held += page.found.filter(({ sequence }) => sequence <= delivered).length;
    ({ position: cursor, end } = page);
    if (isCountedByServer(select) && cursor > delivered) break;
  }
  if (end || !isCountedByServer(select)) return { count, held, exact: end };
  const behind = planned.until === Number.MAX_SAFE_INTEGER ? 0 : await countFrom(connection, stream, subject, planned.until + 1);
  return { count: (await countFrom(connection, stream, subject, 1)) - behind, held, exact: true };
}

function sampleOf(queue: string, { place }: PlannedPlace, { subject, headers, storedAt }: StoredMessage): QueuePreview['sample'][number] {
  const [type, group] = [headerValue(headers, HEADER.type), headerValue(headers, HEADER.group)];
  const id = `${queue}.${subject.slice(subject.lastIndexOf('.') + 1)}`;
  return { id, place, ...(type === undefined ? {} : { type }), ...(group === undefined ? {} : { group }), storedAt };
}
