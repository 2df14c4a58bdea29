import type { Lane, LaneStream, QueueDefinition } from '@jetlane/protocol';
import type { StreamInfo } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { apiCode, differences, streamDrift } from './ensure.js';
import { baseConsumers, baseStreams, laneConsumer, laneStream } from './provisioning.js';

const CONSUMER_NOT_FOUND = 10014;
const STREAM_NOT_FOUND = 10059;
/** Consumer infos asked for at once. */
const AT_ONCE = 32;

/** A lane that is not what its queue's definition says. */
export interface LaneDrift {
  readonly queue: string;
  readonly lane: Lane;
  readonly stream: string;
  /** `stream`, `consumer`: it is missing; else the fields that differ, those of the consumer as `consumer.ack_wait`. */
  readonly what: readonly string[];
}

/**
 * Compares what stands with what is defined: one listing of streams (256 per request), and one request for each consumer that is looked at.
 * @param looksAt which consumers to ask for; default: all
 */
export async function laneDrift(
  connection: Connection,
  definitions: readonly QueueDefinition[],
  looksAt: (stream: string) => boolean = () => true,
): Promise<LaneDrift[]> {
  const standing = new Map<string, StreamInfo>();
  const { streams } = await connection.admin();
  for await (const info of streams.list(connection.names.pattern('tasks.>'))) standing.set(info.config.name, info);
  const places = definitions.flatMap((definition) => connection.names.laneStreams(definition.name).map((place) => ({ definition, place })));
  const drift: LaneDrift[] = [];
  for (let i = 0; i < places.length; i += AT_ONCE) {
    const found = await Promise.all(
      places
        .slice(i, i + AT_ONCE)
        .map(({ definition, place }) => driftOf(connection, definition, place, standing.get(place.stream), looksAt)),
    );
    drift.push(...found.flat().filter(({ what }) => what.length > 0));
  }
  return drift;
}

/** The same for the streams and consumers that every installation has: `<stream>`, `<stream>.<field>`, `<stream> consumer`. */
export async function baseDrift(connection: Connection): Promise<string[]> {
  const { streams, consumers } = await connection.admin();
  const missing = (error: unknown): undefined => {
    if ([STREAM_NOT_FOUND, CONSUMER_NOT_FOUND].includes(apiCode(error))) return undefined;
    throw error;
  };
  const found: string[] = [];
  for (const wants of baseStreams(connection)) {
    const info = await streams.info(wants.name).catch(missing);
    if (!info) found.push(wants.name);
    // What bounds dead letters is set by the service that looks after them.
    else found.push(...streamDrift(wants, info.config, false).map((field) => `${wants.name}.${field}`));
  }
  for (const [stream, { durable_name: name }] of baseConsumers(connection))
    if (!(await consumers.info(stream, name).catch(missing))) found.push(`${stream} consumer`);
  return found;
}

async function driftOf(
  connection: Connection,
  definition: QueueDefinition,
  place: LaneStream,
  info: StreamInfo | undefined,
  looksAt: (stream: string) => boolean,
): Promise<LaneDrift[]> {
  const { queue, stream, lanes } = place;
  if (!info) return lanes.map((lane) => ({ queue, lane, stream, what: ['stream'] }));
  const ofStream = streamDrift(laneStream(connection, definition, place), info.config, definition.replicas !== undefined);
  const present = info.state.consumer_count;
  return Promise.all(
    lanes.map(async (lane, i) => {
      const looks = looksAt(stream);
      const what = i === 0 ? [...ofStream] : [];
      if (present === 0) what.push('consumer');
      else if (looks || present < lanes.length) what.push(...(await consumerDrift(connection, definition, stream, lane)));
      return { queue, lane, stream, what };
    }),
  );
}

async function consumerDrift(connection: Connection, definition: QueueDefinition, stream: string, lane: Lane): Promise<string[]> {
  const { consumers } = await connection.admin();
  const wants = laneConsumer(connection, definition, lane);
  try {
    const { config, paused = false } = await consumers.info(stream, wants.durable_name);
    const fields = differences(wants, config);
    if (definition.paused !== undefined && definition.paused !== paused) fields.push('paused');
    return fields.map((field) => `consumer.${field}`);
  } catch (error) {
    if (apiCode(error) === CONSUMER_NOT_FOUND) return ['consumer'];
    throw error;
  }
}
