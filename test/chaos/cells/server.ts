import { setTimeout as sleep } from 'node:timers/promises';
import { type Cell, problem } from '../cell.js';
import type { Scene } from '../scene.js';

const sentIsStored = { without: 'a task is stored when the server says so, and sent again until then', producer: ['puback'] } as const;

export const serverKilled: Cell = {
  name: 'server-killed',
  breaks: 'SIGKILL of nats-server, started again after a second',
  alone: true,
  workMs: () => 20,
  fault: async (scene) => {
    const { server } = scene.site;
    await scene.mark(...scene.workers);
    server.kill('SIGKILL');
    await server.exited;
    await sleep(1000);
    await server.start();
  },
  controls: [{ ...sentIsStored, shows: 'lost' }],
};

export const consumerDeleted: Cell = {
  name: 'consumer-deleted',
  breaks: "the consumer of the queue's lane deleted",
  workMs: () => 20,
  fault: async (scene) => {
    const { connection } = scene.site;
    await scene.mark(...scene.workers);
    await (await connection.admin()).consumers.delete(scene.lane.stream, scene.lane.consumer);
  },
  controls: [
    {
      without: 'workers and queue-manager make a missing consumer anew',
      shows: 'stuck',
      worker: ['reprovisioning'],
      before: async (scene) => scene.site.pause('queue-manager', true),
      after: async (scene) => scene.site.pause('queue-manager', false),
    },
  ],
};

/** The node that leads the queue's lane. */
async function leader(scene: Scene): Promise<string | undefined> {
  const { streams } = await scene.site.connection.admin();
  return (await streams.info(scene.lane.stream).catch(() => undefined))?.cluster?.leader;
}

export const leaderLost: Cell = {
  name: 'leader-lost',
  breaks: "the leaders of a lane's stream and consumer step down, then the stream's new one is killed (SIGKILL), on a cluster of three",
  clustered: true,
  alone: true,
  workMs: () => 20,
  fault: async (scene) => {
    const { connection, servers } = scene.site;
    const first = await leader(scene);
    await scene.mark(...scene.workers);
    const { stream, consumer } = scene.lane;
    await connection.request(`$JS.API.CONSUMER.LEADER.STEPDOWN.${stream}.${consumer}`, '', 10_000);
    await connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, '', 10_000);
    await scene.until(async () => ![undefined, first].includes(await leader(scene)));
    const second = await leader(scene);
    const node = servers.find(({ name }) => name === second)!;
    await scene.mark(...scene.workers);
    node.kill('SIGKILL');
    await node.exited;
    await sleep(5000);
    await node.start();
  },
  controls: [
    { ...sentIsStored, shows: 'lost' },
    { without: 'another pull follows when a leader is lost', shows: 'zombies', worker: ['re-pull'] },
  ],
};

/** Every task that was confirmed has a place, and the rest was refused in so many words. */
export const queueFull: Cell = {
  name: 'queue-full',
  breaks: 'a queue filled to max_msgs, while timers fire into it',
  insist: true,
  // It takes twice as long as the load lasts.
  most: { seconds: 10 },
  concurrency: () => 20,
  // Half of what comes.
  workMs: ({ rate }) => Math.round((2 * 1000 * 2 * 20) / rate),
  definition: ({ rate, seconds }) => ({ maxDepth: Math.max(50, Math.round((rate * seconds) / 10)) }),
  mix: () => [{ every: 10, at: 3, delayMs: 1000 }],
  fault: async (scene) => {
    const { streams } = await scene.site.connection.admin();
    const full = async () => (await streams.info(scene.lane.stream)).state.messages >= scene.definition.maxDepth!;
    await scene.mark();
    scene.filled = await scene.until(full, 60_000);
  },
  // No worker and no link is hit.
  bound: () => 0,
  judge: ({ filled }) => problem('fault', filled ? 0 : 1, 'the queue was never full'),
  controls: [
    {
      without: 'a full lane refuses (with discard old it drops its oldest)',
      shows: 'lost',
      before: async (scene) => {
        const { streams } = await scene.site.connection.admin();
        const { config } = await streams.info(scene.lane.stream);
        await streams.update(scene.lane.stream, { ...config, discard: 'old' as never });
      },
    },
  ],
};
