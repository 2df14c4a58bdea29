import { type Connection, connect, JsonBucket } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import type { QueueManagerConfig, Sla } from '../config.js';
import { checkDefinitions, checkLimits, checkSla, checkStreams, checkTheServer } from './checks.js';
import { type Finding, failure, ok } from './finding.js';
import { probeQueue, workersOf } from './probe.js';

/** How long a probe may take, in ms. */
const PROBE_MS = 15_000;
const PROBES_AT_ONCE = 8;

export interface ValidateOptions {
  readonly sla: Sla;
  /** Default 15 s. */
  readonly probeMs?: number;
}

/** Connects as the services do, and looks at everything. */
export async function validate(
  { nats, sla }: Pick<QueueManagerConfig, 'nats' | 'sla'>,
  options: Partial<ValidateOptions> = {},
): Promise<Finding[]> {
  let connection: Connection;
  try {
    connection = await connect({ ...nats, name: 'jetlane-validate', waitOnFirstConnect: false });
  } catch (error) {
    return [failure('connection', (error as Error).message, 'start nats-server, or correct NATS_URL and the credentials')];
  }
  try {
    return [ok('connection', `connected to ${connection.server}`), ...(await inspect(connection, { sla, ...options }))];
  } finally {
    await connection.close();
  }
}

/** Looks at an installation; changes nothing but for one task per queue, of which nothing stays. */
export async function inspect(connection: Connection, { sla, probeMs = PROBE_MS }: ValidateOptions): Promise<Finding[]> {
  const server = await checkTheServer(connection);
  if (server.level === 'error') return [server];
  const { findings, definitions } = await definitionsOf(connection);
  const checks = [checkStreams(connection, definitions), checkLimits(connection), checkSla(connection, definitions, sla)];
  const found = (await Promise.all(checks)).flat();
  return [server, ...findings, ...found, ...(await probe(connection, definitions, probeMs))];
}

async function definitionsOf(connection: Connection): Promise<ReturnType<typeof checkDefinitions>> {
  const bucket = await JsonBucket.existing<QueueDefinition>(connection, connection.names.bucket('queues'));
  const entries = (await bucket?.all()) ?? [];
  return checkDefinitions(entries.map(({ key, value, revision }) => ({ definition: { ...value, name: key }, revision })));
}

async function probe(connection: Connection, definitions: readonly QueueDefinition[], probeMs: number): Promise<Finding[]> {
  const workers = await workersOf(connection);
  const findings: Finding[] = [];
  for (let i = 0; i < definitions.length; i += PROBES_AT_ONCE) {
    const some = definitions.slice(i, i + PROBES_AT_ONCE);
    findings.push(
      ...(await Promise.all(some.map((definition) => probeQueue(connection, definition, workers.get(definition.name) ?? 0, probeMs)))),
    );
  }
  return findings;
}
