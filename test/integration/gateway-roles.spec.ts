import { COMMANDS, SCOPES, type Scope } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatKeyLine, hashKey } from '../../apps/gateway/src/access/key-line.js';
import { apiRoutes } from '../../apps/gateway/src/routes/index.js';
import type { ApiRoute, Gateway } from '../../apps/gateway/src/routes/route.js';
import { GatewayFixture } from './gateway-fixture.js';

/** Every caller that the table has a column for. `other` has all scopes, but for a queue that no request of the table names. */
const ROLES = ['none', 'wrong', ...SCOPES, 'other'] as const;
type Role = (typeof ROLES)[number];

/** What is open to everybody: probes for machines, and what tells nothing that the sources do not tell. */
const OPEN = ['/', '/docs', '/docs-json', '/health/live', '/health/ready', '/metrics'];
/** The route table needs nothing of a gateway until a handler runs. */
const routes = apiRoutes({} as Gateway);
const QUEUE = 'default';

const keyOf = (role: Role): string => `key-of-${role}`;

function keyLines(): string {
  const lines = SCOPES.map((scope) => formatKeyLine({ name: scope, hash: hashKey(keyOf(scope)), scopes: [scope] }));
  lines.push(formatKeyLine({ name: 'other', hash: hashKey(keyOf('other')), scopes: ['admin'], queues: ['elsewhere'] }));
  return lines.join(';');
}

let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start({ JETLANE_API_KEY_HASHES: keyLines(), JETLANE_RATE_LIMIT_REFUSED: 'off' });
});

afterAll(() => gateway.stop());

/** A path that names a queue of ours wherever it can name one. */
function pathOf({ path, query }: ApiRoute): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    if (/^queue/.test(name)) return QUEUE;
    return name === 'task_id' ? `${QUEUE}.nobody` : 'x';
  });
  const field = Object.keys(query?.shape ?? {}).find((name) => name === 'queue_name' || name === 'queue');
  return field ? `${filled}?${field}=${QUEUE}` : filled;
}

/** A body that names a queue of ours and then does as little as it can. */
function bodyOf({ body, operationId }: ApiRoute): string | undefined {
  const [type] = Object.keys(body ?? {});
  if (!type) return undefined;
  if (operationId === 'enqueueBatch') return '[]';
  if (operationId === 'deadLettersRedrive' || operationId === 'deadLettersDiscard') return JSON.stringify({ task_id: `${QUEUE}.nobody` });
  const example = (body?.[type]?.example ?? {}) as object;
  const shape = (body?.[type]?.schema as { shape?: object } | undefined)?.shape ?? {};
  const field = ['queue_name', 'queue'].find((name) => name in shape);
  return JSON.stringify({ ...example, ...(field ? { [field]: QUEUE } : {}) });
}

/** `400`: the request does not fit, which is found out before its queue is known. */
type Verdict = 'yes' | '400' | '401' | '403';

async function ask(route: ApiRoute, role: Role): Promise<Verdict> {
  const body = bodyOf(route);
  const headers = {
    ...(role === 'none' ? {} : { authorization: `Bearer ${keyOf(role)}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  };
  const status = endless(route)
    ? await firstStatus(pathOf(route), headers)
    : (await gateway.call(route.method, pathOf(route), { headers, ...(body === undefined ? {} : { body }) })).status;
  if (status === 401 || status === 403) return String(status) as Verdict;
  return status === 400 && role === 'other' ? '400' : 'yes';
}

const endless = ({ answers }: ApiRoute): boolean => answers[200]?.[0]?.contentType === 'text/event-stream';

/** Of an answer that does not end: only its beginning. */
async function firstStatus(path: string, headers: Record<string, string>): Promise<number> {
  const reading = new AbortController();
  const { status } = await fetch(gateway.service.url + path, { headers, signal: reading.signal });
  reading.abort();
  return status;
}

/** The rules in the words of docs/security.md, apart from the code that enforces them. */
const HOLDERS: Readonly<Record<Scope, readonly Role[]>> = {
  produce: ['produce', 'admin'],
  read: ['read', 'operate', 'admin'],
  operate: ['operate', 'admin'],
  admin: ['admin'],
};

/** Answered to who may use some queues only, with what concerns those: nothing here. */
const FILTERED = new Set(['stats']);
const COMMAND_ROUTES = new Map(COMMANDS.map((command) => [`${command.http.method} /api/v1${command.http.path}`, command]));
const commandOf = ({ method, path }: ApiRoute) => COMMAND_ROUTES.get(`${method} ${path}`);
const isFiltered = (route: ApiRoute): boolean => FILTERED.has(route.operationId) || commandOf(route)?.visible !== undefined;
/** Lines of a batch are refused one by one; jobs are looked up before their queue is known. */
const LATER = new Set(['enqueueBatch', 'deadLettersJob', 'deadLettersCancelJob']);

function expected(route: ApiRoute, role: Role): Verdict {
  if (role === 'none' || role === 'wrong') return '401';
  if (role === 'other') return isFiltered(route) || LATER.has(route.operationId) ? 'yes' : '403';
  return HOLDERS[route.scope].includes(role) ? 'yes' : '403';
}

describe('roles and routes', () => {
  it.each(routes.map((route) => [`${route.method} ${route.path}`, route] as const))('%s', async (_name, route) => {
    const answered: Verdict[] = await Promise.all(ROLES.map((role) => ask(route, role)));
    // The input of a command is not known here: one that does not fit is refused before it reaches anything.
    if (commandOf(route) && answered.at(-1) === '400') answered[ROLES.length - 1] = expected(route, 'other');
    expect(Object.fromEntries(ROLES.map((role, index) => [role, answered[index]]))).toEqual(
      Object.fromEntries(ROLES.map((role) => [role, expected(route, role)])),
    );
  });

  it.each(OPEN)('%s is open', async (path) => {
    expect([200, 503]).toContain((await gateway.get(path)).status);
  });

  it('nothing under /api is open beside the table', async () => {
    const { body } = await gateway.get('/docs-json');
    const described = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort());
    const printed = gateway.service.app.getHttpAdapter().getInstance().printRoutes({ commonPrefix: false });
    expect([...printed.matchAll(/\((GET|POST|PUT|DELETE|PATCH)/g)].length).toBeGreaterThanOrEqual(routes.length);
  });

  // After a change: npx vitest run --project integration test/integration/gateway-roles.spec.ts -u
  it('the table of docs/roles.md is this one', async () => {
    await expect(page()).toMatchFileSnapshot('../../docs/roles.md');
  });
});

const page = (): string => `# Roles and routes

Which scope may use which route of the gateway; what scopes and limits to queues mean is told in [Security](security.md). Written by
\`test/integration/gateway-roles.spec.ts\`, which asks every route in every role.

${table()}
`;

/** Rows of routes, columns of roles. */
function table(): string {
  const columns = SCOPES.filter((scope) => scope !== 'admin');
  const cell = (route: ApiRoute, role: Role): string => (expected(route, role) === 'yes' ? 'yes' : '–');
  const other = (route: ApiRoute): string => {
    if (isFiltered(route)) return 'its part';
    return LATER.has(route.operationId) ? 'each checked' : '–';
  };
  return [
    `| route | scope | ${columns.join(' | ')} | admin | for another queue |`,
    `|---|---|${columns.map(() => '---|').join('')}---|---|`,
    ...routes.map((route) => {
      const cells = [...columns, 'admin' as const].map((role) => cell(route, role));
      return `| \`${route.method} ${route.path}\` | \`${route.scope}\` | ${cells.join(' | ')} | ${other(route)} |`;
    }),
  ].join('\n');
}
