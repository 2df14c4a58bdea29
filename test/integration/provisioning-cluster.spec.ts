import { type Connection, connect, ensureQueue, moveLane } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { type NatsCluster, startNatsCluster } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let cluster: NatsCluster;
const links: Connection[] = [];

const link = async (replicas?: number): Promise<Connection> => {
  const connection = await connect({ servers: cluster.url, namespace: 'three', ...(replicas === undefined ? {} : { replicas }) });
  links.push(connection);
  return connection;
};
const replicasOf = async (connection: Connection, stream: string) =>
  (await (await connection.admin()).streams.info(stream)).config.num_replicas;

beforeAll(async () => {
  cluster = await startNatsCluster();
}, 60_000);
afterAll(async () => {
  await Promise.all(links.map((connection) => connection.close()));
  await cluster.stop();
});

describe('provisioning on three nodes', () => {
  it('four processes create one queue at once on an empty installation, and the next one', async () => {
    const four = await Promise.all([3, 3, 3, 3].map((replicas) => link(replicas)));
    for (const name of ['first', 'second']) {
      const held = await Promise.all(four.map((connection, i) => ensureQueue(connection, { name, maxDepth: 100 + i })));
      expect(new Set(held.map(({ maxDepth }) => maxDepth)).size).toBe(1);
    }
    for (const lane of LANES) expect(await replicasOf(four[0]!, four[0]!.names.lane('second', lane).stream)).toBe(3);
  }, 120_000);

  it('a process that is not told about replicas leaves them as they are; a definition may lower them', async () => {
    const plain = await link();
    const { names } = plain;
    await ensureQueue(plain, { name: 'first' });
    for (const stream of [names.lane('first', 'normal').stream, names.taskStates, names.schedules])
      expect(await replicasOf(plain, stream)).toBe(3);
    await plain.publish(names.task('first', 'normal', 'k'), '{}');
    await moveLane(plain, { name: 'first', storage: 'memory' }, 'normal');
    const moved = await (await plain.admin()).streams.info(names.lane('first', 'normal').stream);
    expect(moved).toMatchObject({ config: { num_replicas: 3, storage: 'memory' }, state: { messages: 1 } });
    await ensureQueue(plain, { name: 'single', replicas: 1 });
    expect(await replicasOf(plain, names.lane('single', 'normal').stream)).toBe(1);
  }, 120_000);
});
