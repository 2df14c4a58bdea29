import {
  accountUse,
  assertTopology,
  baseDrift,
  type Connection,
  checkServer,
  consumerState,
  directGetNext,
  type LaneDrift,
  type ListedLane,
  laneDrift,
  listLaneStreams,
  listLanes,
} from '@jetlane/jetstream';
import { formatMs, JetlaneError, parseQueueDefinition, type QueueDefinition, toMs } from '@jetlane/protocol';
import type { Sla } from '../config.js';
import type { StoredDefinition } from '../definitions/definition-store.js';
import { type Finding, failure, ok, warning } from './finding.js';

/** Part of a limit from which somebody should look. */
const NEARLY_FULL = 0.9;
const RECONCILE = 'start the queue manager, or look into its log (queue:not-provisioned); it puts this right within 30 s';
/** Fields that are fixed at creation. */
const FIXED = ['retention', 'consumer.max_waiting'];

/** Whether the server can do what is needed. */
export async function checkTheServer(connection: Connection): Promise<Finding> {
  const { serverVersion } = connection;
  try {
    await checkServer(connection);
    return ok('server', `nats-server ${serverVersion} with JetStream has all that is needed`);
  } catch (error) {
    return failure('server', (error as Error).message, 'run nats-server 2.14 or newer with JetStream (-js, or jetstream {} in its file)');
  }
}

/** The definitions that can be read, and what is wrong with the others. */
export function checkDefinitions(stored: readonly StoredDefinition[]): { findings: Finding[]; definitions: QueueDefinition[] } {
  const findings: Finding[] = [];
  const definitions: QueueDefinition[] = [];
  for (const { definition } of stored) {
    try {
      definitions.push(parseQueueDefinition(definition));
    } catch (error) {
      findings.push(failure('definitions', `queue "${definition.name}": ${(error as Error).message}`, 'PUT the definition anew'));
    }
  }
  if (stored.length === 0)
    findings.push(failure('definitions', 'no queue is defined', 'start the queue manager, which defines the default queues'));
  else if (findings.length === 0) findings.push(ok('definitions', `${stored.length} queues are defined`));
  return { findings, definitions };
}

/** Whether this process looks for tasks where the installation keeps them; nothing is said where it does. */
async function checkTopology(connection: Connection): Promise<Finding[]> {
  try {
    await assertTopology(connection);
    return [];
  } catch (error) {
    if (!(error instanceof JetlaneError) || error.code !== 'wrong-topology') throw error;
    return [failure('streams', error.message, `start this process with JETLANE_TOPOLOGY=${error.details.installed}`)];
  }
}

/** Streams and consumers against definitions. */
export async function checkStreams(connection: Connection, definitions: readonly QueueDefinition[]): Promise<Finding[]> {
  const wrong = await checkTopology(connection);
  // In another topology nothing is where it is looked for, and that is all there is to say.
  if (wrong.length > 0) return wrong;
  const base = (await baseDrift(connection)).filter((what) => !boundsOfDeadLetters(connection, what));
  const lanes = await laneDrift(connection, definitions);
  const findings = [
    ...base.map((what) => failure('streams', `${what} is missing or differs`, RECONCILE)),
    ...lanes.map((drift) => laneFinding(connection, drift)),
  ];
  return findings.length > 0 ? findings : [ok('streams', `all streams and consumers of ${definitions.length} queues are as defined`)];
}

/** Set by the service that looks after dead letters. */
const boundsOfDeadLetters = ({ names }: Connection, what: string): boolean =>
  [`${names.deadLetters}.max_age`, `${names.deadLetters}.max_bytes`].includes(what);

function laneFinding({ names }: Connection, { queue, lane, stream, what }: LaneDrift): Finding {
  const where = names.laneStream(queue, lane).lanes.length === 1 ? stream : `${stream}, lane ${lane}`;
  const text = `${where}: ${what.map((part) => (['stream', 'consumer'].includes(part) ? `the ${part} is missing` : `${part} differs`)).join(', ')}`;
  const fixed = what.filter((field) => FIXED.includes(field));
  if (fixed.length === 0) return failure('streams', text, RECONCILE);
  return failure(
    'streams',
    text,
    `${fixed.join(', ')} cannot be changed in place, and no version of ours made it so: drain the queue, delete it and define it anew`,
  );
}

/** What is nearly used up: storage of the account, depth of lanes, tasks in hand. */
export async function checkLimits(connection: Connection): Promise<Finding[]> {
  const findings = (await accountUse(connection)).flatMap(({ what, used, limit }) => {
    if (limit === undefined || used < NEARLY_FULL * limit) return [];
    const text = `${what}: ${used} of ${limit} used`;
    const fix = `raise the account's limit in the server's configuration, or free ${what}`;
    return [used >= limit ? failure('limits', text, fix) : warning('limits', text, fix)];
  });
  for (const { queue, lanes, depth, bytes, maxDepth, maxBytes } of await listLaneStreams(connection)) {
    const part = Math.max(maxDepth === undefined ? 0 : depth / maxDepth, maxBytes === undefined ? 0 : bytes / maxBytes);
    if (part < NEARLY_FULL) continue;
    const text = `queue "${queue}", ${lanes.length === 1 ? `lane ${lanes[0]}` : 'all lanes together'}: ${Math.round(100 * part)} % full (${depth} tasks, ${bytes} bytes)`;
    findings.push(warning('limits', text, 'add workers, or raise maxDepth or maxBytes of the queue; a full lane answers queue-full'));
  }
  return findings.length > 0 ? findings : [ok('limits', 'no limit of the account or of a lane is nearly reached')];
}

/** How long the oldest waiting task of each lane has waited. */
export async function checkSla(connection: Connection, definitions: readonly QueueDefinition[], fallback: Sla): Promise<Finding[]> {
  const byName = new Map(definitions.map((definition) => [definition.name, definition]));
  const findings: Finding[] = [];
  for (const place of await listLanes(connection)) {
    const { queue, lane, depth } = place;
    const definition = byName.get(queue);
    if (!definition || depth === 0) continue;
    const waited = await oldestWait(connection, place);
    const { warningMs, criticalMs } = slaOf(definition, fallback);
    if (waited < warningMs) continue;
    const text = `queue "${queue}", lane ${lane}: the oldest task has waited for ${formatMs(Math.round(waited / 1000) * 1000)}`;
    const fix = `add workers or slots for "${queue}", see whether it is paused, or change its sla (warning ${formatMs(warningMs)}, critical ${formatMs(criticalMs)})`;
    findings.push(waited >= criticalMs ? failure('sla', `${text}: critical`, fix) : warning('sla', text, fix));
  }
  return findings.length > 0 ? findings : [ok('sla', 'no task has waited for longer than its queue allows')];
}

/** The thresholds of a queue. */
export function slaOf({ sla }: QueueDefinition, fallback: Sla): Sla {
  return {
    warningMs: sla?.warning === undefined ? fallback.warningMs : toMs(sla.warning),
    criticalMs: sla?.critical === undefined ? fallback.criticalMs : toMs(sla.critical),
  };
}

/** Lanes hand out in order: the first message behind the last delivered one has waited longest. */
async function oldestWait(connection: Connection, { queue, lane, stream, consumer }: ListedLane): Promise<number> {
  const state = await consumerState(connection, stream, consumer);
  const subject = connection.names.laneSubjects(queue, lane);
  const oldest = await directGetNext(connection, stream, (state?.deliveredSequence ?? 0) + 1, subject);
  return oldest ? Math.max(0, Date.now() - oldest.storedAt) : 0;
}
