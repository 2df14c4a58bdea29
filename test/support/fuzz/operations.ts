import { hostileBody, hostileHeaders, sample, TEXTS } from './hostile.js';
import type { Random } from './random.js';

type Json = Record<string, unknown>;

/** What is made wrong in a request. */
export const KINDS = ['body', 'parameters', 'headers'] as const;
export type Kind = (typeof KINDS)[number];

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly schema?: Json;
}

/** One operation of an OpenAPI document. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  /** Content types with the schemas of their bodies. */
  readonly bodies: readonly [type: string, schema: Json][];
  /** Status codes that the document declares. */
  readonly declared: ReadonlySet<number>;
}

/** A request as bytes, and whether its framing is broken on purpose. */
export interface FuzzRequest {
  readonly bytes: Buffer;
  readonly breaksFraming: boolean;
}

export function operationsOf(document: Json): Operation[] {
  return Object.entries(document.paths as Record<string, Record<string, Json>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      parameters: (operation.parameters ?? []) as Parameter[],
      bodies: Object.entries(((operation.requestBody as Json | undefined)?.content ?? {}) as Record<string, { schema: Json }>).map(
        ([type, { schema }]) => [type, schema] as [string, Json],
      ),
      declared: new Set(Object.keys(operation.responses as Json).map(Number)),
    })),
  );
}

/** The kinds that an operation can be sent: one without body or parameters gets its headers made wrong only. */
export function kindsOf({ bodies, parameters }: Operation): Kind[] {
  return KINDS.filter(
    (kind) => (kind === 'body' && bodies.length > 0) || (kind === 'parameters' && parameters.length > 0) || kind === 'headers',
  );
}

/** A request of which one part is wrong. */
export function requestOf(operation: Operation, kind: Kind, random: Random): FuzzRequest {
  const [type, schema] = operation.bodies.length > 0 ? random.pick(operation.bodies) : [undefined, undefined];
  const body =
    kind === 'body' ? hostileBody(schema, random) : type ? Buffer.from(JSON.stringify(sample(schema, random)) ?? '') : Buffer.alloc(0);
  const { lines, breaksFraming } = kind === 'headers' ? hostileHeaders(random) : { lines: [], breaksFraming: false };
  const head = [
    `${operation.method} ${target(operation, kind, random)} HTTP/1.1`,
    'Host: localhost',
    ...(type ? [`Content-Type: ${type}`] : []),
    ...(body.length > 0 || type ? [`Content-Length: ${body.length}`] : []),
    ...lines,
  ];
  return { bytes: Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]), breaksFraming };
}

function target({ path, parameters }: Operation, kind: Kind, random: Random): string {
  const wrong = kind === 'parameters';
  const value = ({ name, schema }: Parameter): string => {
    // A wait that is understood would only take time.
    if (name === 'wait') return wrong && random.chance(0.8) ? random.pick(['', 'x', '-1', '1e9', '1y', '0', '1ms', '[]']) : '0';
    return wrong && random.chance(0.8) ? random.pick(TEXTS) : textOf(sample(schema, random));
  };
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const found = parameters.find((parameter) => parameter.name === name);
    return encode(found ? value(found) : 'x', wrong, random) || '%20';
  });
  const query = parameters
    .filter((parameter) => parameter.in === 'query' && random.chance(wrong ? 0.6 : 0.2))
    .map((parameter) => [parameter.name, value(parameter)]);
  if (wrong && random.chance(0.2)) query.push([random.pick(TEXTS), random.pick(TEXTS)]);
  if (wrong && query.length > 0 && random.chance(0.1)) query.push(random.pick(query));
  const text = query.map(([name = '', given = '']) => `${encode(name, wrong, random)}=${encode(given, wrong, random)}`).join('&');
  return text ? `${filled}?${text}` : filled;
}

/** An object may have a `toString` of its own, which is none. */
const textOf = (value: unknown): string => (typeof value === 'object' ? (JSON.stringify(value) ?? '') : String(value));

/** Percent-encoded, and now and then wrongly so. */
function encode(text: string, wrong: boolean, random: Random): string {
  const encoded = encodeURIComponent(text.toWellFormed());
  if (!wrong || random.chance(0.9)) return encoded;
  return random.pick(['%E0%A4%A', '%ZZ', '%', `${encoded}%00`, encoded.replaceAll('%', '%25'), 'a'.repeat(3000)]);
}
