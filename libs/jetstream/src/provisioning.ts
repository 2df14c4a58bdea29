import { JetlaneError, LANE_DEFAULTS, type Lane, type LaneStream, type QueueDefinition, toMs } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';
import { type ConsumerWants, ensureConsumer, ensureStream, removeStream, type StreamWants } from './ensure.js';
import { streamExists } from './lane-list.js';
import { enforcePause, pauseByDefinition, pauseDate, pauseEnd, readPause } from './queue-pause.js';
import { layOut } from './topology.js';

const NANOS = 1_000_000;
/** API level of nats-server 2.14, the first with recurring schedules and dependable timers. */
export const REQUIRED_API_LEVEL = 4;

/**
 * Refuses a server that would silently ignore what Jetlane depends on (2.10 accepts and drops unknown flags).
 * @throws JetlaneError `server-too-old`
 */
export async function checkServer(connection: Connection): Promise<void> {
  const info = await (await connection.admin()).getAccountInfo().catch((error: unknown) => {
    throw (
      permissionDenied(error) ??
      new JetlaneError(
        'jetstream-api',
        `JetStream does not answer at ${connection.server}: ${(error as Error).message}; start nats-server with -js`,
        { cause: error },
      )
    );
  });
  const level = (info.api as { level?: number }).level ?? 0;
  if (level < REQUIRED_API_LEVEL) {
    throw new JetlaneError(
      'server-too-old',
      `the NATS server at ${connection.server} is too old (API level ${level}, needs ${REQUIRED_API_LEVEL}); install nats-server 2.14 or newer`,
      {
        details: { level, required: REQUIRED_API_LEVEL },
      },
    );
  }
}

/**
 * Streams and consumers that every installation has. Idempotent; several processes may do it at once.
 * @throws JetlaneError `server-too-old`, `wrong-topology`, `stream-mismatch`, `jetstream-api`
 */
export async function provisionBase(connection: Connection): Promise<void> {
  await checkServer(connection);
  const streams = baseStreams(connection);
  await layOut(connection, streams[0]!);
  for (const stream of streams) await ensureStream(connection, stream);
  for (const [stream, consumer] of baseConsumers(connection)) await ensureConsumer(connection, stream, consumer);
}

/** The streams that every installation has, first the one that remembers the topology. */
export function baseStreams({ names, replicas }: Connection): StreamWants[] {
  const common = { storage: 'file' as const, num_replicas: replicas, allow_direct: true };
  return [
    {
      ...common,
      name: names.schedules,
      subjects: [names.pattern('schedules.>'), names.pattern('due.>')],
      retention: 'workqueue',
      allow_msg_schedules: true,
      duplicate_window: LANE_DEFAULTS.duplicateWindowMs * NANOS,
    },
    {
      ...common,
      name: names.taskStates,
      subjects: [names.pattern('states.>')],
      retention: 'limits',
      max_msgs_per_subject: 1,
      allow_msg_ttl: true,
      // Workers store the records of a turn as one batch.
      allow_batched: true,
      max_msgs: 2_000_000,
      // The server sets max_bytes aside on its disk at once: no more than 2M records of ordinary size need.
      max_bytes: 1024 ** 3,
      discard: 'old',
      duplicate_window: 1000 * NANOS,
    },
    {
      ...common,
      name: names.deadLetters,
      subjects: [names.pattern('dead.>')],
      retention: 'limits',
      max_msgs_per_subject: 1,
      duplicate_window: LANE_DEFAULTS.duplicateWindowMs * NANOS,
    },
    { ...common, name: names.advisories, subjects: names.maxDeliveries(), retention: 'workqueue', max_age: 7 * 86_400_000 * NANOS },
    {
      ...common,
      name: names.metrics,
      subjects: [names.pattern('metrics.>')],
      retention: 'limits',
      max_msgs_per_subject: 1,
      max_age: 7 * 86_400_000 * NANOS,
      duplicate_window: 1000 * NANOS,
    },
  ];
}

/** Their consumers. */
export function baseConsumers({ names }: Connection): [stream: string, consumer: ConsumerWants][] {
  const common = { ack_policy: 'explicit' as const, max_deliver: -1, max_waiting: 512 };
  return [
    // The lease must end within the duplicate window: a second mover's publish is then still known as a duplicate.
    [
      names.schedules,
      {
        ...common,
        durable_name: names.schedulerConsumer,
        filter_subject: names.pattern('due.>'),
        ack_wait: 10_000 * NANOS,
        max_ack_pending: 5000,
      },
    ],
    [names.advisories, { ...common, durable_name: names.resiliencyConsumer, ack_wait: 15_000 * NANOS, max_ack_pending: 256 }],
  ];
}

/** A queue's lanes: their streams and consumers. Idempotent. @throws JetlaneError `stream-mismatch`, `jetstream-api` */
export async function provisionQueue(connection: Connection, definition: QueueDefinition): Promise<void> {
  const places = connection.names.laneStreams(definition.name);
  await Promise.all(places.map((place) => provisionLanes(connection, definition, place, place.lanes)));
}

/** One lane of a queue, and the stream that it lives in. */
export function provisionLane(connection: Connection, definition: QueueDefinition, lane: Lane): Promise<void> {
  return provisionLanes(connection, definition, connection.names.laneStream(definition.name, lane), [lane]);
}

async function provisionLanes(
  connection: Connection,
  definition: QueueDefinition,
  place: LaneStream,
  lanes: readonly Lane[],
): Promise<void> {
  const { name: queue, paused } = definition;
  await assertNotMoving(connection, place);
  await ensureStream(connection, laneStream(connection, definition, place), definition.replicas !== undefined);
  if (paused !== undefined) await pauseByDefinition(connection, queue, paused);
  // An update leaves a pause as it is; a consumer that is made anew must not hand out what its queue was paused for.
  const pausedAsBefore = async () => {
    const end = await pauseEnd(connection, (await readPause(connection, queue)).entry);
    return end === undefined ? {} : { pause_until: pauseDate(end) };
  };
  await Promise.all(
    lanes.map((lane) => ensureConsumer(connection, place.stream, laneConsumer(connection, definition, lane), pausedAsBefore)),
  );
  if (paused !== undefined) await enforcePause(connection, queue, lanes);
}

/** A lane that is being made anew is nobody's but the mover's: a stream made in between would take tasks and be thrown away. */
async function assertNotMoving(connection: Connection, { queue, side, lanes }: LaneStream): Promise<void> {
  if (!(await streamExists(connection, side))) return;
  const what = lanes.length === 1 ? `lane ${lanes[0]} of queue "${queue}"` : `queue "${queue}"`;
  throw new JetlaneError('jetstream-api', `${what} is being moved to another storage; it is back when that is done`, {
    details: { queue, lanes, moving: true },
  });
}

/** The stream that lanes of a queue shall have: it holds what all of them may. */
export function laneStream({ names, replicas }: Connection, definition: QueueDefinition, { stream, lanes }: LaneStream): StreamWants {
  return {
    name: stream,
    subjects: lanes.map((lane) => names.laneSubjects(definition.name, lane)),
    retention: 'workqueue',
    discard: 'new',
    storage: definition.storage ?? 'file',
    compression: definition.compression ?? 'none',
    num_replicas: definition.replicas ?? replicas,
    max_msgs: lanes.length * (definition.maxDepth ?? LANE_DEFAULTS.maxDepth),
    max_bytes: definition.maxBytes === undefined ? -1 : lanes.length * definition.maxBytes,
    // Headers count too; they get 64 KiB of their own.
    max_msg_size: (definition.maxPayload ?? LANE_DEFAULTS.maxPayload) + 65_536,
    allow_direct: true,
    // What is enqueued in one turn goes as one batch.
    allow_batched: true,
    duplicate_window: LANE_DEFAULTS.duplicateWindowMs * NANOS,
  };
}

/** The consumer of a lane that workers pull from. It takes all of its stream, or where that holds other lanes too, its own subjects. */
export function laneConsumer({ names }: Connection, definition: QueueDefinition, lane: Lane): ConsumerWants {
  const lease = definition.lease === undefined ? LANE_DEFAULTS.leaseMs : toMs(definition.lease, 'lease');
  const maxDeliveries = definition.maxDeliveries ?? LANE_DEFAULTS.maxDeliveries;
  return {
    durable_name: names.lane(definition.name, lane).consumer,
    ...(names.laneStream(definition.name, lane).lanes.length > 1 ? { filter_subject: names.laneSubjects(definition.name, lane) } : {}),
    ack_policy: 'explicit',
    // `backoff` concerns crash redeliveries only and overrides ack_wait with its first entry.
    ack_wait: lease * NANOS,
    backoff: LANE_DEFAULTS.backoffFactors.slice(0, maxDeliveries).map((factor) => factor * lease * NANOS),
    max_deliver: maxDeliveries,
    max_ack_pending: LANE_DEFAULTS.maxAckPending,
    max_waiting: LANE_DEFAULTS.maxWaiting,
  };
}

/** Deletes a queue's lanes with all their tasks. */
export async function removeQueue(connection: Connection, queue: string): Promise<void> {
  for (const { stream } of connection.names.laneStreams(queue)) await removeStream(connection, stream);
}

/** Deletes all that {@link provisionBase} made. */
export async function removeBase(connection: Connection): Promise<void> {
  const { schedules, taskStates, deadLetters, advisories, metrics } = connection.names;
  for (const stream of [schedules, taskStates, deadLetters, advisories, metrics]) await removeStream(connection, stream);
}
