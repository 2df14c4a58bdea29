import type { Random } from './random.js';

type Json = Record<string, unknown>;

const long = (length: number): string => 'x'.repeat(length);

/** Texts that break careless readers. */
export const TEXTS: readonly string[] = [
  ...[
    '',
    ' ',
    '.',
    '..',
    '../../etc/passwd',
    '*',
    '>',
    '$JS.API.>',
    'a.b.c',
    'default.',
    '.x',
    'default.x y',
    '%',
    '%00',
    '\u0000',
    '\r\n',
  ],
  ...['\ud800', '😀', 'ä'.repeat(65), '‮', 'null', 'true', 'NaN', 'Infinity', '-1', '1e999', '0x10', '99999999999999999999', '1.5', '-0'],
  ...["' OR 1=1 --", '"; DROP TABLE x;', '<script>alert(1)</script>', '{{7*7}}', '__proto__', 'constructor', 'toString'],
  ...['default', 'high_priority', 'default.nobody', 'nobody', 'UPPER', '-', '_', long(64), long(65), long(129), long(5000)],
  ...['2026-13-45', '1d', '-5s', '1h1h', '[]', '{}', '[1', '{"a":', 'a=b&c=d', 'a,b', '/', '//', '\\', '?', '#', '&', '+'],
];

const SCALARS: readonly unknown[] = [null, true, false, 0, -1, 1, 1.5, 1e308, -1e308, 5e-324, Number.MAX_SAFE_INTEGER, 2 ** 53, ...TEXTS];

/** A value that does not fit where it goes, most of the time. */
export function hostileValue(random: Random, depth = 0): unknown {
  const choice = random.below(depth > 3 ? 8 : 11);
  if (choice < 8) return random.pick(SCALARS);
  if (choice === 8) return Array.from({ length: random.below(4) }, () => hostileValue(random, depth + 1));
  if (choice === 9) return nested(random.below(300));
  return Object.fromEntries(Array.from({ length: random.below(4) }, () => [random.pick(TEXTS), hostileValue(random, depth + 1)]));
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { a: value };
  return value;
}

/** A value that fits a JSON schema as far as types go: the start from which one thing is made wrong. */
export function sample(schema: Json | undefined, random: Random, depth = 0): unknown {
  if (!schema || depth > 6) return 'x';
  const options = (schema.anyOf ?? schema.oneOf ?? schema.allOf) as Json[] | undefined;
  if (options?.length) return sample(random.pick(options), random, depth + 1);
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return random.pick(schema.enum);
  if (schema.default !== undefined && random.chance(0.5)) return schema.default;
  switch (schema.type) {
    case 'object':
      return sampleObject(schema, random, depth);
    case 'array':
      return Array.from({ length: random.below(3) }, () => sample(schema.items as Json, random, depth + 1));
    case 'integer':
    case 'number':
      return Math.max(Number(schema.minimum ?? 1), 1);
    case 'boolean':
      return random.chance(0.5);
    case 'string':
      return random.pick(['default', 'default.nobody', 'noop', '1s', '1', '2026-01-01T00:00:00Z']);
    default:
      return hostileValue(random, depth + 1);
  }
}

function sampleObject({ properties = {}, required = [] }: Json, random: Random, depth: number): Json {
  const needed = new Set(required as string[]);
  const fields = Object.entries(properties as Record<string, Json>).filter(([name]) => needed.has(name) || random.chance(0.3));
  return Object.fromEntries(fields.map(([name, schema]) => [name, sample(schema, random, depth + 1)]));
}

const DAMAGES: readonly ((text: string, random: Random) => string | Buffer)[] = [
  (text, random) => text.slice(0, random.below(text.length)),
  (text, random) => Buffer.from([...Buffer.from(text).subarray(0, random.below(text.length)), 0xff, 0xfe, 0x00, random.below(256)]),
  (text) => `\ufeff${text}`,
  (text) => `${text}${text}`,
  (text) => text.replace(/}$/, ',}'),
  (text) => text.replaceAll('"', "'"),
  (text) => text.replace('{', '{"__proto__":{"polluted":1},'),
  (text) => text.replace('{', '{"constructor":{"prototype":{"polluted":1}},'),
  (text) => text.replace('{', '{"queue_name":"default","queue_name":5,'),
  () => '['.repeat(20_000),
  () => `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`,
  () => '',
  () => ' \n\t ',
  () => 'NaN',
  (_text, random) => Buffer.from(Array.from({ length: 100 }, () => random.below(256))),
  (_text, random) => JSON.stringify(hostileValue(random)) ?? 'undefined',
];

/** A body that is wrong in its text or in one of its fields. */
export function hostileBody(schema: Json | undefined, random: Random): Buffer {
  const value = sample(schema, random);
  if (random.chance(0.4)) return Buffer.from(random.pick(DAMAGES)(JSON.stringify(value) ?? '{}', random));
  return Buffer.from(JSON.stringify(wrongField(value, schema, random)) ?? 'null');
}

function wrongField(value: unknown, schema: Json | undefined, random: Random): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return hostileValue(random);
  const fields = [...Object.keys((schema?.properties as Json | undefined) ?? {}), ...Object.keys(value)];
  const changed: Json = { ...(value as Json) };
  if (random.chance(0.15) || fields.length === 0) changed[random.pick(TEXTS)] = hostileValue(random);
  else if (random.chance(0.2)) delete changed[random.pick(fields)];
  else changed[random.pick(fields)] = hostileValue(random);
  return random.chance(0.05) ? [changed] : changed;
}

const HEADERS: readonly ((random: Random) => string)[] = [
  (random) =>
    `${random.pick(['If-Match', 'If-None-Match', 'Idempotency-Key', 'traceparent', 'tracestate', 'X-Request-Id'])}: ${word(random)}`,
  (random) =>
    `${random.pick(['Accept', 'Accept-Encoding', 'Range', 'Last-Event-ID', 'Forwarded', 'X-Forwarded-For', 'Cookie'])}: ${word(random)}`,
  (random) => `${random.pick(['Authorization', 'X-API-Key'])}: ${random.pick(['Bearer', 'Basic', '', 'Bearer a.b.c'])} ${word(random)}`,
  (random) =>
    `Content-Type: ${random.pick(['text/plain', 'application/json; charset=utf-16', 'application/x-ndjson', '/', ';', 'multipart/form-data'])}`,
  (random) => `Content-Encoding: ${random.pick(['gzip', 'identity', 'br, gzip', 'x'])}`,
  (random) => `Expect: ${random.pick(['100-continue', 'miracles'])}`,
  (random) => `Origin: ${random.pick(['null', 'https://evil.example', 'http://localhost:1'])}`,
  (random) => `${word(random)}: ${word(random)}`,
  (random) => `X-Long: ${long(random.below(20_000))}`,
  (random) => `Upgrade: ${random.pick(['websocket', 'h2c'])}\r\nConnection: Upgrade`,
];

/** Headers that end or damage the framing: the server may close the connection, with or without an answer. */
const FRAMING: readonly string[] = [
  ...['Content-Length: -1', 'Content-Length: 5, 6', 'Content-Length: x', 'Content-Length: 99999999999999999999', 'Transfer-Encoding: gzip'],
  ...[
    'Transfer-Encoding: chunked\r\nContent-Length: 3',
    'Bad Header',
    ': nothing',
    'X-Fold: a\r\n b',
    'X-Bare: a\nb',
    'Host: other.example',
    'X\u0000: 1',
  ],
];

const word = (random: Random): string =>
  random
    .pick(TEXTS)
    .replace(/[^\x20-\x7e]/g, '~')
    .slice(0, 2000);

/** Lines of headers, one or more of them wrong. */
export function hostileHeaders(random: Random): { lines: string[]; breaksFraming: boolean } {
  const lines = Array.from({ length: 1 + random.below(3) }, () => random.pick(HEADERS)(random));
  const breaksFraming = random.chance(0.15);
  return { lines: breaksFraming ? [...lines, random.pick(FRAMING)] : lines, breaksFraming };
}
