import { isLane, JetlaneError, Names, TOPOLOGIES, type Topology } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';
import { ANSWER_MS, apiCode, type StreamWants } from './ensure.js';
import { untilAnswered } from './until-answered.js';

const STREAM_NOT_FOUND = 10059;
const STREAM_EXISTS = 10058;
/** Where an installation remembers its topology: in the metadata of its stream of timers. One without a word is laid out as `lanes`. */
const REMEMBERED = 'jetlane-topology';

/**
 * Refuses to go on beside an installation that is laid out in another way: this process would look for tasks where none are. One request.
 * @returns false where nothing is provisioned yet: whoever does it may choose another topology, so ask again
 * @throws JetlaneError `wrong-topology`, `permission-denied`; `jetstream-api`, to be tried again, when nobody answers
 */
export async function assertTopology(connection: Connection): Promise<boolean> {
  const found = await topologyOf(connection);
  if (found !== undefined && found !== connection.names.topology) throw wrongTopology(connection, found);
  return found !== undefined;
}

function wrongTopology({ names }: Connection, found: Topology): JetlaneError {
  const installation = names.namespace ? `installation "${names.namespace}"` : 'this installation';
  return new JetlaneError(
    'wrong-topology',
    `${installation} is laid out as "${found}", and this process expects "${names.topology}"; set JETLANE_TOPOLOGY=${found} (topology: '${found}' in connect())`,
    { details: { namespace: names.namespace, installed: found, expected: names.topology } },
  );
}

/**
 * Lays the installation out if nobody did: whoever makes its stream of timers decides, and an update never changes the word. So of two
 * processes that begin at once with different topologies one goes on, and the other is told. Where that stream was deleted by hand, what is
 * left of the lanes still tells.
 * @throws JetlaneError `wrong-topology`, `jetstream-api`
 */
export async function layOut(connection: Connection, timers: StreamWants): Promise<void> {
  // In a cluster a stream does not answer while its leader is elected.
  if ((await untilAnswered(() => topologyOf(connection))) === undefined) {
    await untilAnswered(() => assertLanesFit(connection));
    await create(connection, timers);
  }
  await untilAnswered(() => assertTopology(connection));
}

/** Where tasks stand already, as of an installation whose stream of timers was deleted by hand, they are not passed over. */
async function assertLanesFit(connection: Connection): Promise<void> {
  const { names } = connection;
  const { streams } = await connection.admin(ANSWER_MS);
  try {
    for await (const { config } of streams.list(names.pattern('tasks.>'))) {
      const found = layoutOf(names, config);
      if (found !== undefined && found !== names.topology) throw wrongTopology(connection, found);
    }
  } catch (error) {
    if (error instanceof JetlaneError) throw error;
    throw (
      permissionDenied(error) ??
      new JetlaneError('jetstream-api', `the streams of tasks cannot be listed: ${(error as Error).message}`, { cause: error })
    );
  }
}

/** The topology that has a stream of this name for the lane of its first subject; undefined for a stream that is none of ours. */
function layoutOf(
  names: Names,
  { name, subjects }: { readonly name: string; readonly subjects?: readonly string[] },
): Topology | undefined {
  const [queue, lane] = names.tokens(subjects?.[0] ?? '');
  if (queue === undefined || lane === undefined || !isLane(lane)) return undefined;
  return TOPOLOGIES.find((topology) => new Names(names.namespace, topology).lane(queue, lane).stream === name);
}

async function topologyOf(connection: Connection): Promise<Topology | undefined> {
  const { streams } = await connection.admin(ANSWER_MS);
  try {
    const { config } = await streams.info(connection.names.schedules);
    return config.metadata?.[REMEMBERED] === 'compact' ? 'compact' : 'lanes';
  } catch (error) {
    if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
    const message = `the layout of the installation cannot be read from stream "${connection.names.schedules}": ${(error as Error).message}`;
    throw permissionDenied(error) ?? new JetlaneError('jetstream-api', message, { cause: error });
  }
}

async function create(connection: Connection, timers: StreamWants): Promise<void> {
  const { streams } = await connection.admin();
  const metadata = { [REMEMBERED]: connection.names.topology };
  await untilAnswered(() => streams.add({ ...timers, metadata })).catch((error: unknown) => {
    // Somebody was quicker.
    if (apiCode(error) === STREAM_EXISTS) return;
    throw (
      permissionDenied(error) ??
      new JetlaneError('jetstream-api', `stream "${timers.name}" cannot be provisioned: ${(error as Error).message}`, { cause: error })
    );
  });
}
