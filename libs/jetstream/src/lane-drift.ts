import { LANES, type Lane, type QueueDefinition } from '@jetlane/protocol';
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
  const lanes = definitions.flatMap((definition) => LANES.map((lane) => ({ definition, lane })));
  const drift: LaneDrift[] = [];
  for (let i = 0; i < lanes.length; i += AT_ONCE) {
    const found = await Promise.all(
      lanes.slice(i, i + AT_ONCE).map(async ({ definition, lane }) => {
        const { stream } = connection.names.lane(definition.name, lane);
        const what = await driftOf(connection, definition, lane, standing.get(stream), looksAt(stream));
        return { queue: definition.name, lane, stream, what };
      }),
    );
    drift.push(...found.filter(({ what }) => what.length > 0));
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
  lane: Lane,
  info: StreamInfo | undefined,
  looks: boolean,
): Promise<string[]> {
  if (!info) return ['stream'];
  if (info.state.consumer_count === 0) return ['consumer'];
  const what = streamDrift(laneStream(connection, definition, lane), info.config, definition.replicas !== undefined);
  return looks ? [...what, ...(await consumerDrift(connection, definition, info.config.name))] : what;
}

async function consumerDrift(connection: Connection, definition: QueueDefinition, stream: string): Promise<string[]> {
  const { consumers } = await connection.admin();
  try {
    const { config, paused = false } = await consumers.info(stream, connection.names.consumer);
    const fields = differences(laneConsumer(connection, definition), config);
    if (definition.paused !== undefined && definition.paused !== paused) fields.push('paused');
    return fields.map((field) => `consumer.${field}`);
  } catch (error) {
    if (apiCode(error) === CONSUMER_NOT_FOUND) return ['consumer'];
    throw error;
  }
}
