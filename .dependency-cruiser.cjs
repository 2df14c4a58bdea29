// Who may import whom (docs: CONTRIBUTING.md). Run by `npm run lint` and by test/architecture/rules.spec.ts, which also
// proves with a violating fixture per rule that each of them can fire.

/** What each library may import from the other libraries. `testing` may import all of them. */
const LIBRARY_DIRECTIONS = {
  protocol: [],
  jetstream: ['protocol'],
  telemetry: ['protocol'],
  client: ['protocol', 'jetstream', 'telemetry'],
  worker: ['protocol', 'jetstream', 'telemetry', 'batching'],
  postgres: ['protocol', 'worker'],
  batching: [],
  nestjs: ['protocol', 'jetstream', 'telemetry', 'client', 'worker', 'batching'],
};

// A path that could not be resolved keeps the name it was imported by, hence the alternatives without node_modules.
const packagePath = (name) => `(^|/node_modules/|^node_modules/)${name}`;
const SPEC = '\\.spec\\.tsx?$';

function directionRule([name, allowed]) {
  const own = [name, ...allowed].join('|');
  return {
    name: `libs-direction-${name}`,
    comment: `libs/${name} may import ${allowed.length > 0 ? allowed.join(', ') : 'no other library'}. Move the shared part down, or the caller up.`,
    severity: 'error',
    from: { path: `^libs/${name}/` },
    // `testing` is left to the rule product-without-test-kit, which knows that specs may use it.
    to: { path: '^libs/', pathNot: `^libs/(${own}|testing)/` },
  };
}

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'A cycle breaks decorator metadata at load time and hides who depends on whom. Type-only imports count.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      comment: 'An import that cannot be followed is an import that no other rule can judge.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'nats-only-in-jetstream',
      comment: 'libs/jetstream is the wire layer and the only importer of @nats-io/*; tests may play the stranger, and a script makes keys.',
      severity: 'error',
      from: { pathNot: '^(libs/jetstream|test)/|^scripts/lib/nats-users[.]mjs$' },
      to: { path: packagePath('@nats-io/') },
    },
    {
      name: 'nestjs-only-at-the-rim',
      comment: 'The engine libraries work without NestJS; only libs/nestjs, its part of the test kit and the applications import it.',
      severity: 'error',
      from: { pathNot: '^(libs/nestjs|libs/testing/src/nestjs|apps|test)/' },
      to: { path: packagePath('@nestjs/') },
    },
    {
      name: 'apps-never-import-each-other',
      comment: 'Services talk over NATS. Shared code belongs to a library.',
      severity: 'error',
      from: { path: '^apps/([^/]+)/' },
      to: { path: '^apps/|^@jetlane/app-', pathNot: '^apps/$1/' },
    },
    {
      name: 'libs-never-import-apps',
      comment: 'Applications stand on libraries, never the other way round.',
      severity: 'error',
      from: { path: '^libs/' },
      to: { path: '^(apps|test|scripts)/|^@jetlane/app-' },
    },
    ...Object.entries(LIBRARY_DIRECTIONS).map(directionRule),
    {
      name: 'batching-needs-nothing',
      comment: 'libs/batching brings nothing along: what needs the engine is @jetlane/worker/batching.',
      severity: 'error',
      from: { path: '^libs/batching/', pathNot: SPEC },
      to: { path: `${packagePath('.')}|^libs/`, pathNot: '^libs/batching/src/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'batching-only-in-its-storage',
      comment: 'The worker engine knows nothing of batching but the storage that it is in libs/worker/src/batching.',
      severity: 'error',
      from: { path: '^libs/worker/', pathNot: '^libs/worker/src/batching/' },
      to: { path: '^libs/batching/' },
    },
    {
      name: 'protocol-is-a-leaf',
      comment: 'Everything imports libs/protocol, so it brings nothing along but zod.',
      severity: 'error',
      from: { path: '^libs/protocol/', pathNot: SPEC },
      to: { path: packagePath('.'), pathNot: `${packagePath('zod(/|$)')}|^libs/`, dependencyTypesNot: ['core', 'local'] },
    },
    {
      name: 'no-relative-import-into-a-package',
      comment: 'Import @jetlane/<name>, which is what the published package offers.',
      severity: 'error',
      from: { path: '^(libs|apps)/([^/]+)/' },
      to: { path: '^(libs|apps)/', pathNot: '^$1/$2/', dependencyTypesNot: ['aliased-workspace'] },
    },
    {
      name: 'no-relative-import-of-libs-in-tests',
      comment: 'Import @jetlane/<name>. A test of internals sits beside the file it tests.',
      severity: 'error',
      from: { path: '^test/' },
      to: { path: '^libs/', dependencyTypesNot: ['aliased-workspace'] },
    },
    {
      name: 'no-package-internals',
      comment: "Only the paths in a package's exports may be imported.",
      severity: 'error',
      from: {},
      to: { path: '^@jetlane/[^/]+/' },
    },
    {
      name: 'product-without-test-kit',
      comment: 'libs/testing brings servers and fixtures; only specs, tests and scripts use it.',
      severity: 'error',
      from: { path: '^(libs/(?!testing/)|apps/)', pathNot: SPEC },
      to: { path: '^(libs/testing|test)/' },
    },
    {
      name: 'wire-baseline-stands-alone',
      comment: 'The wire benchmark is what the product is measured against, so it shares no code with it.',
      severity: 'error',
      from: { path: '^test/bench/wire/' },
      to: { path: '^(libs|apps)/|^@jetlane/' },
    },
  ],
  options: {
    doNotFollow: { path: ['(^|/)node_modules/', '(^|/)dist/'] },
    exclude: { path: '^(libs|apps)/[^/]+/dist/' },
    // Sees `import type` too, which leaves no trace in the compiled output.
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['jetlane-source', 'import', 'types', 'default'],
      mainFields: ['module', 'main', 'types', 'typings'],
    },
  },
};
