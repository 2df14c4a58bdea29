import { describe, expect, it } from 'vitest';
import { startNatsCluster } from './cluster.js';

describe('startNatsCluster', () => {
  it('elects a leader, survives the death of a node, and takes it back', async () => {
    const cluster = await startNatsCluster();
    try {
      expect(cluster.url.split(',')).toHaveLength(3);
      const node = cluster.servers[0];
      node?.kill('SIGKILL');
      await node?.exited;
      await cluster.healthy(2);
      await node?.start();
      await cluster.healthy();
    } finally {
      await cluster.stop();
    }
  }, 60_000);
});
