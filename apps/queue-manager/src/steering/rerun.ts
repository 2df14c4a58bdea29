import { type Connection, DeadLetterMover, leaderGet, TaskStore, type TaskTraces } from '@jetlane/jetstream';
import {
  type CommandInput,
  type CommandOutput,
  DEFAULT_LANE,
  HEADER,
  isFinal,
  JetlaneError,
  JSON_CONTENT_TYPE,
  LANE_DEFAULTS,
  laneIn,
  parseTaskId,
  type QueueDefinition,
  type StateRecord,
  type TASK_COMMANDS,
  withHeaders,
} from '@jetlane/protocol';

type Input = CommandInput<typeof TASK_COMMANDS.rerun>;
type Output = CommandOutput<typeof TASK_COMMANDS.rerun>;

interface Payload {
  readonly data: string | Uint8Array;
  readonly contentType: string | undefined;
}

/**
 * Sends a finished task back to its lane, one hop higher. A dead one goes the way of a redrive.
 *
 * One write, the publish under the message id of the next hop. Crash before it: nothing happened; after it: the task waits in its lane and
 * a live copy beats the old record. Whoever calls again because an answer was lost is told that the task is not finished, or, with `hop`,
 * that it was done. Test: steer-rerun.spec.
 * @throws JetlaneError `task-not-found`, `task-not-finished`, `payload-not-kept`, `payload-too-large`, `queue-full`, `invalid-argument`
 */
export async function rerun(connection: Connection, definition: QueueDefinition, input: Input): Promise<Output> {
  const { task_id } = input;
  const { queue, key } = parseTaskId(task_id);
  const store = new TaskStore(connection);
  const traces = await store.traces(queue, key, leaderGet);
  const given = givenPayload(input, definition);
  const asked = laneIn(definition, input.lane);
  const found = finishedOf(task_id, traces, input.hop);
  if (found === 'done before') return { task_id, hop: input.hop! + 1, lane: asked ?? laneNow(traces), duplicate: true };
  if (found === 'dead letter') {
    const { fate, hop, lane } = await new DeadLetterMover(connection).redrive(task_id, { lane: asked, payload: given });
    if (fate === 'gone') throw notFinished(task_id);
    return { task_id, hop, lane, duplicate: fate === 'duplicate' };
  }
  const payload = given ?? payloadIn(found);
  const [hop, lane] = [found.hop + 1, asked ?? found.lane ?? DEFAULT_LANE];
  const { duplicate } = await store.publishTask(queue, lane, key, { headers: headersOf(found, payload), data: payload.data, hop });
  return { task_id, hop, lane, duplicate: duplicate === true };
}

/** The record of a task that is finished, or where else its payload is. */
function finishedOf(id: string, { record, copies }: TaskTraces, asked: number | undefined): StateRecord | 'dead letter' | 'done before' {
  const top = Math.max(record?.hop ?? 0, ...copies.map(({ hop }) => hop));
  if (top === 0)
    throw new JetlaneError('task-not-found', `task "${id}" is not known; it was never enqueued, or its record has expired`, {
      details: { id },
    });
  if (asked !== undefined && top > asked) return 'done before';
  if (copies.some(({ place, hop }) => place === 'dead' && hop === top)) return 'dead letter';
  // A copy beside the final record of its hop only waits for its ack.
  if (!record || record.hop < top || !isFinal(record.state)) throw notFinished(id);
  return record;
}

const laneNow = ({ record, copies }: TaskTraces) => copies.find(({ lane }) => lane !== undefined)?.lane ?? record?.lane ?? DEFAULT_LANE;

const notFinished = (id: string): JetlaneError =>
  new JetlaneError('task-not-finished', `task "${id}" waits, runs, or was sent back already; only a finished task can be run once more`, {
    details: { id },
  });

/** @throws JetlaneError `payload-too-large`, `invalid-argument` */
function givenPayload(input: Input, { name, maxPayload = LANE_DEFAULTS.maxPayload }: QueueDefinition): Payload | undefined {
  if (input.data !== undefined && input.base64 !== undefined)
    throw new JetlaneError('invalid-argument', 'expected data or base64, got both', { details: { field: 'base64' } });
  if (input.base64 !== undefined && input.contentType === undefined)
    throw new JetlaneError('invalid-argument', 'expected contentType beside a payload in bytes', { details: { field: 'contentType' } });
  if (input.data === undefined && input.base64 === undefined) return undefined;
  const data = input.base64 === undefined ? JSON.stringify(input.data) : Buffer.from(input.base64, 'base64');
  const bytes = Buffer.byteLength(data);
  if (bytes > maxPayload)
    throw new JetlaneError('payload-too-large', `the payload has ${bytes} bytes, queue "${name}" takes ${maxPayload}`, {
      details: { bytes, maxPayload },
    });
  return { data, contentType: input.contentType === JSON_CONTENT_TYPE ? undefined : input.contentType };
}

function payloadIn({ id, payload }: StateRecord): Payload {
  if (payload) return { data: payload.text ?? Buffer.from(payload.base64 ?? '', 'base64'), contentType: payload.contentType };
  throw new JetlaneError(
    'payload-not-kept',
    `the payload of task "${id}" went with its ack; give it with the request, or let the queue keep payloads ("keepPayload" in its definition)`,
    { details: { id } },
  );
}

/** What the record says of it. Retry policy, timeout and deadline of its own are not in the record: those of its queue hold. */
function headersOf({ type, group, hash, at }: StateRecord, { contentType }: Payload) {
  return withHeaders([], {
    [HEADER.type]: type,
    [HEADER.group]: group,
    [HEADER.createdAt]: at.created,
    [HEADER.hash]: hash,
    [HEADER.contentType]: contentType,
  });
}
