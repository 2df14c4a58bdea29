import type { Fixture } from './dependency-rules.js';

function breaks(rule: string, file: string, source: string): Fixture {
  return { rule, file, source };
}

function passes(file: string, source: string): Fixture {
  return { rule: undefined, file, source };
}

const uses = (specifier: string): string => `import * as used from '${specifier}';\nexport const value = used;\n`;
const usesType = (specifier: string): string => `import type * as used from '${specifier}';\nexport type Value = typeof used;\n`;

/** At least one violation per rule of .dependency-cruiser.cjs, beside neighbours that are allowed. */
export const FIXTURES: readonly Fixture[] = [
  breaks('no-circular', 'libs/worker/src/ring-a.ts', usesType('./ring-b.js')),
  // A cycle is reported once, at its first file.
  passes('libs/worker/src/ring-b.ts', uses('./ring-a.js')),
  breaks('no-unresolvable', 'libs/client/src/lost.ts', uses('./missing.js')),
  breaks('no-unresolvable', 'libs/client/src/unknown-package.ts', uses('no-such-package')),

  breaks('nats-only-in-jetstream', 'libs/worker/src/nats.ts', uses('@nats-io/jetstream')),
  breaks('nats-only-in-jetstream', 'libs/client/src/nats-type.ts', usesType('@nats-io/jetstream')),
  breaks('nats-only-in-jetstream', 'libs/testing/src/nats.ts', uses('@nats-io/jetstream')),
  breaks('nats-only-in-jetstream', 'apps/gateway/src/nats.ts', 'export const late = import("@nats-io/jetstream");'),
  passes('libs/jetstream/src/nats.ts', uses('@nats-io/jetstream')),
  passes('test/e2e/stranger.ts', uses('@nats-io/jetstream')),

  breaks('nestjs-only-at-the-rim', 'libs/worker/src/nest.ts', uses('@nestjs/common')),
  breaks('nestjs-only-at-the-rim', 'libs/testing/src/nest.ts', usesType('@nestjs/common')),
  passes('libs/testing/src/nestjs/nest.ts', uses('@nestjs/common')),
  passes('libs/nestjs/src/nest.ts', uses('@nestjs/common')),
  passes('apps/gateway/src/nest.ts', uses('@nestjs/common')),

  breaks('apps-never-import-each-other', 'apps/gateway/src/other.ts', uses('@jetlane/app-scheduler')),
  breaks('apps-never-import-each-other', 'apps/gateway/src/other-file.ts', uses('../../scheduler/src/main.js')),
  breaks('libs-never-import-apps', 'libs/client/src/app.ts', uses('../../../apps/gateway/src/main.js')),
  breaks('libs-never-import-apps', 'libs/client/src/app-package.ts', uses('@jetlane/app-gateway')),

  breaks('libs-direction-protocol', 'libs/protocol/src/up.ts', uses('@jetlane/telemetry')),
  breaks('libs-direction-jetstream', 'libs/jetstream/src/up.ts', uses('@jetlane/telemetry')),
  breaks('libs-direction-telemetry', 'libs/telemetry/src/up.ts', usesType('@jetlane/jetstream')),
  breaks('libs-direction-client', 'libs/client/src/sideways.ts', uses('@jetlane/worker')),
  breaks('libs-direction-worker', 'libs/worker/src/sideways.ts', uses('@jetlane/client')),
  breaks('libs-direction-postgres', 'libs/postgres/src/wire.ts', uses('@jetlane/jetstream')),
  breaks('libs-direction-nestjs', 'libs/nestjs/src/database.ts', uses('@jetlane/postgres')),
  breaks('libs-direction-batching', 'libs/batching/src/up.ts', uses('@jetlane/postgres')),
  breaks('batching-needs-nothing', 'libs/batching/src/engine.ts', usesType('@jetlane/protocol')),
  breaks('batching-needs-nothing', 'libs/batching/src/package.ts', uses('zod')),
  breaks('batching-only-in-its-storage', 'libs/worker/src/batches.ts', usesType('@jetlane/batching')),
  passes('libs/worker/src/batching/storage.ts', usesType('@jetlane/batching')),
  passes('libs/batching/src/alone.ts', `${uses('./alone-too.js')}export { join } from 'node:path';\n`),
  passes('libs/batching/src/alone-too.ts', 'export const alone = true;\n'),
  passes(
    'libs/worker/src/down.ts',
    `${uses('@jetlane/protocol')}export * from '@jetlane/jetstream';\nexport * from '@jetlane/telemetry';\n`,
  ),
  passes('libs/testing/src/all.ts', `export * from '@jetlane/nestjs';\nexport * from '@jetlane/postgres';\n`),

  breaks('protocol-is-a-leaf', 'libs/protocol/src/database.ts', uses('pg')),
  passes('libs/protocol/src/schema.ts', `${uses('zod')}export { randomBytes } from 'node:crypto';\n`),
  passes('libs/protocol/src/schema.spec.ts', uses('pg')),

  breaks('no-relative-import-into-a-package', 'libs/worker/src/reach.ts', uses('../../protocol/src/index.js')),
  breaks('no-relative-import-into-a-package', 'apps/worker/src/reach.ts', uses('../../../libs/worker/src/index.js')),
  breaks('no-relative-import-of-libs-in-tests', 'test/integration/reach.ts', uses('../../libs/worker/src/index.js')),
  breaks('no-package-internals', 'libs/worker/src/deep.ts', uses('@jetlane/protocol/src/index.js')),
  breaks('no-package-internals', 'test/integration/deep.ts', uses('@jetlane/worker/dist/index.js')),
  passes('test/integration/front-door.ts', uses('@jetlane/worker')),

  breaks('product-without-test-kit', 'libs/worker/src/kit.ts', uses('@jetlane/testing')),
  breaks('product-without-test-kit', 'apps/worker/src/kit.ts', uses('@jetlane/testing')),
  passes('libs/worker/src/kit.spec.ts', uses('@jetlane/testing')),

  breaks('wire-baseline-stands-alone', 'test/bench/wire/cheat.ts', uses('@jetlane/protocol')),
  passes('test/bench/product/fair.ts', uses('@jetlane/protocol')),
];
