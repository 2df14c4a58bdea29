import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './dependency-rules.js';

/** Ways in which a source names a variable that it reads. */
const READS = [
  // env.NAME, process.env.NAME, env['NAME']
  /\benv\.([A-Za-z]\w*_\w+|[A-Z][A-Z0-9]+)\b/g,
  /\benv\[['"](\w+)['"]\]/g,
  // A schema of the environment: one variable a line.
  /^\s+([A-Z][A-Z0-9_]+):/gm,
  // A port's variable is handed to a function: 'GATEWAY_PORT'.
  /['"]([A-Z][A-Z0-9_]*_PORT)['"]/g,
];
const DESTRUCTURED = /\{([^{}]*)\}\s*=\s*(?:process\.)?env\b/g;
/** The schema's own name for the variable that each service calls differently. */
const PLACEHOLDER = 'PORT';
/** Ours alone: a library may read others that we document, such as NO_COLOR. */
const OURS = /^(JETLANE|NATS|WORKER|DATABASE|INBOX|LOG)_|_PORT$/;

function namesRead(source: string): string[] {
  const plain = READS.flatMap((pattern) => [...source.matchAll(pattern)].map(([, name = '']) => name));
  const destructured = [...source.matchAll(DESTRUCTURED)].flatMap(([, names = '']) => names.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []);
  return [...plain, ...destructured].filter((name) => name !== PLACEHOLDER);
}

/** Sources below a folder, without tests and what is built or installed. */
function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return ['node_modules', 'dist'].includes(entry.name) ? [] : sources(path);
    return /(?<!\.spec)\.(ts|mjs)$/.test(entry.name) ? [path] : [];
  });
}

const namesIn = (paths: readonly string[]): Set<string> =>
  new Set(paths.flatMap((path) => namesRead(readFileSync(join(ROOT, path), 'utf8'))));

describe('docs/configuration.md', () => {
  const configs = [...sources('apps'), ...sources('libs')].filter((path) => path.endsWith('/config.ts'));
  const configured = namesIn(configs);
  const launched = namesIn([...sources('libs/testing/src'), ...sources('scripts')]);
  const page = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8');
  const documented = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name);

  it('is held against all services', () => {
    expect(configs.filter((path) => /^apps\/[^/]+\/src\/config\.ts$/.test(path)).length).toBeGreaterThanOrEqual(6);
    expect([...configured]).toEqual(expect.arrayContaining(['HOST', 'NATS_URL', 'GATEWAY_PORT', 'WORKER_QUEUES', 'DATABASE_URL']));
    expect([...launched]).toEqual(expect.arrayContaining(['NATS_PORT', 'JETLANE_DATA_DIR', 'JETLANE_API_KEY', 'XDG_CACHE_HOME']));
  });

  it('lists every variable that a config.ts reads', () => {
    expect([...configured].filter((name) => !documented.includes(name))).toEqual([]);
  });

  it('lists every variable that the scripts and the launcher read', () => {
    expect([...launched].filter((name) => !documented.includes(name))).toEqual([]);
  });

  it('lists nothing twice, and none of ours that nobody reads', () => {
    expect(documented.filter((name, index) => documented.indexOf(name) !== index)).toEqual([]);
    expect(documented.filter((name) => OURS.test(name) && !configured.has(name) && !launched.has(name))).toEqual([]);
  });
});

describe('the search for variables', () => {
  it.each([
    ['a property', 'const x = process.env.SOME_NAME ?? 1;', 'SOME_NAME'],
    ['a property of npm', 'if (env.npm_execpath) return;', 'npm_execpath'],
    ['an index', "const x = env['SOME_NAME'];", 'SOME_NAME'],
    ['a schema', 'const schema = z.object({\n  SOME_NAME: z.string(),\n});', 'SOME_NAME'],
    ['a port', "readServiceConfig('some', 3009, 'SOME_PORT')", 'SOME_PORT'],
    ['destructuring', 'const { SOME_NAME } = process.env;', 'SOME_NAME'],
  ])('finds %s', (_way, source, name) => {
    expect(namesRead(source)).toEqual([name]);
  });

  it('leaves constants and the placeholder of the port alone', () => {
    expect(namesRead('const SOME_LIMIT = 20;\nconst schema = z.object({\n  PORT: port,\n});')).toEqual([]);
  });
});
