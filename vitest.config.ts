import { defineConfig } from 'vitest/config';

/** On machines that are shared, a clock or a disk stumbles now and then: there a test gets two more tries, and says so in its line. */
const retry = process.env.CI ? 2 : 0;

/** Specs that judge by the time or the memory that something takes, or that load both cores: each runs alone. */
const alone = [
  'batching-file',
  'gateway-batch-memory',
  'gateway-overload',
  'gateway-slow',
  'limits-*',
  'link-watch',
  'postgres-demo',
  'provisioning-cluster',
  'puller',
  'steer-hold',
  'steer-limits',
  'worker-lanes',
  'worker-watchdog',
].map((name) => `test/integration/${name}.spec.ts`);

const conditions = ['jetlane-source', 'node', 'development|production'];

export default defineConfig({
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    isolate: false,
    setupFiles: ['./test/setup.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['libs/*/src/**/*.spec.ts', 'apps/*/src/**/*.spec.ts', 'test/property/**/*.spec.ts', 'test/architecture/**/*.spec.ts'],
          testTimeout: 20_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.spec.ts'],
          exclude: alone,
          retry,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Every file has a server of its own, and mostly waits.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'timing',
          include: alone,
          retry,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.spec.ts'],
          retry,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
