import type { Measurement } from '../harness/contract.js';

const CALLS = 100_000;
const ROUNDS = 5;
const KEYS = 1000;
const ACCESS = new URL('../../../../apps/gateway/dist/access/', import.meta.url);
const SILENT = { info: () => undefined, error: () => undefined };

interface KeyLines {
  formatKeyLine(entry: object): string;
  hashKey(key: string): string;
  newKey(): string;
}

type Part<T = object> = new (...args: unknown[]) => T;

interface Door {
  admit(request: object, reply: object): Promise<void>;
}

/** What the gateway's own check of a request costs (key, scope, rate limit), in microseconds of CPU: best of several rounds. */
export async function run(): Promise<Measurement> {
  const { formatKeyLine, hashKey, newKey } = await load<KeyLines>('key-line');
  const key = newKey();
  const keys = [key, ...Array.from({ length: KEYS - 1 }, () => newKey())];
  const lines = keys.map((each, index) => formatKeyLine({ name: `key-${index}`, hash: hashKey(each), scopes: ['produce'] })).join('\n');
  const request = { headers: { authorization: `Bearer ${key}` }, ip: '127.0.0.1', routeOptions: { config: { scope: 'produce' } } };
  const full = await best(await openDoor(lines, { count: 1e9, seconds: 1 }), request);
  const unlimited = await best(await openDoor(lines, undefined), request);
  return { values: { full, unlimited } };
}

/** The gateway is an application: its parts are found by path, and have no types here. */
const load = <P>(part: string): Promise<P> => import(new URL(`${part}.js`, ACCESS).href) as Promise<P>;

async function openDoor(lines: string, requests: object | undefined): Promise<Door> {
  const { ApiKeys } = await load<{ ApiKeys: Part }>('api-keys');
  const { RateLimits } = await load<{ RateLimits: Part }>('rate-limits');
  const { Gatekeeper } = await load<{ Gatekeeper: Part<Door> }>('gatekeeper');
  const limits = new RateLimits({ requests, refused: undefined });
  return new Gatekeeper({ keys: new ApiKeys({ plain: [], lines }, SILENT), tokens: undefined, limits });
}

async function best(door: Door, request: object): Promise<number> {
  const reply = { header: () => reply };
  let fastest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    for (let call = 0; call < CALLS; call += 1) await door.admit(request, reply);
    const { user, system } = process.cpuUsage(before);
    fastest = Math.min(fastest, user + system);
  }
  return fastest / CALLS;
}
