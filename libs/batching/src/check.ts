import { BatchingError } from './errors.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const LONGEST_MS = 100 * 366 * 86_400_000;

/** Milliseconds of a duration; NaN when it is none. */
export function toMs(value: unknown): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value.trim()) : null;
  const ms = match ? Number(match[1]) * UNITS[match[2]!]! : value;
  return typeof ms === 'number' && ms >= 0 && ms <= LONGEST_MS ? Math.round(ms) : Number.NaN;
}

/** Reads options by path (`retryStrategy.backoff.jitter`) and gathers all that is wrong with them. */
export class Check {
  private readonly problems: string[] = [];
  /** What may stand in each group: every path that was asked for. */
  private readonly known = new Map<string, string[]>([['', []]]);

  constructor(private readonly options: object) {}

  /** @param otherwise the default; undefined: the option is needed; null: it may be missing */
  fits(path: string, expected: string, good: (value: unknown) => boolean, otherwise?: unknown, names: readonly string[] = []): unknown {
    this.learn(path);
    const value = path.split('.').reduce<unknown>((group, key) => (group as Record<string, unknown> | undefined)?.[key], this.options);
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (good(value)) return value;
    this.problems.push(`expected ${path} to be ${expected}; got ${show(value)}${suggest(value, names)}`);
    return otherwise;
  }

  integer(path: string, otherwise: number | undefined, least: number, most = Number.MAX_SAFE_INTEGER): number {
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    return this.fits(
      path,
      `a whole number ${range}`,
      (value) => Number.isInteger(value) && inside(value, least, most),
      otherwise,
    ) as number;
  }

  number(path: string, otherwise: number, least: number, most: number): number {
    return this.fits(path, `a number from ${least} to ${most}`, (value) => inside(value, least, most), otherwise) as number;
  }

  /** In ms. */
  duration(path: string, otherwise: number | undefined, least = 0): number {
    const expected = `milliseconds from ${least}, or a number with ms, s, m, h or d, as in "5s"`;
    return toMs(this.fits(path, expected, (value) => toMs(value) >= least, otherwise));
  }

  oneOf<V extends string>(path: string, names: readonly [V, ...V[]]): V {
    return this.fits(path, names.join(', '), (value) => names.includes(value as V), names[0], names) as V;
  }

  /** @throws BatchingError `invalid-options` with every problem, unknown options among them */
  end(): void {
    for (const [path, names] of this.known) this.unknown(path, names);
    const { problems } = this;
    if (problems.length === 0) return;
    throw new BatchingError('invalid-options', `the options of the queue do not fit:\n- ${problems.join('\n- ')}`, { problems });
  }

  private learn(path: string): void {
    const keys = path.split('.');
    keys.forEach((key, depth) => {
      const group = keys.slice(0, depth).join('.');
      this.known.set(group, [...(this.known.get(group) ?? []), key]);
    });
  }

  private unknown(path: string, names: readonly string[]): void {
    const group = path === '' ? this.options : path.split('.').reduce<unknown>((value, key) => Object(value)[key], this.options);
    if (group === undefined) return;
    if (typeof group !== 'object' || group === null) return void this.problems.push(`expected ${path} to be an object; got ${show(group)}`);
    for (const key of Object.keys(group).filter((name) => !names.includes(name)))
      this.problems.push(`unknown option ${path ? `${path}.` : ''}${key}${suggest(key, names)}`);
  }
}

const inside = (value: unknown, least: number, most: number) => typeof value === 'number' && value >= least && value <= most;

const show = (value: unknown): string => (typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value));

/** Names the nearest by edit distance, if it is near enough for a slip of the pen. */
function suggest(word: unknown, names: readonly string[]): string {
  if (typeof word !== 'string' || word.length > 64) return '';
  const near = names.map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }));
  const best = near.sort((one, other) => one.distance - other.distance)[0];
  return best && best.distance <= Math.max(1, word.length / 3) ? `, did you mean "${best.name}"?` : '';
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), row[j]! + 1, next[j - 1]! + 1));
    row = next;
  }
  return row[b.length]!;
}
