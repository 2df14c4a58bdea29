/** Milliseconds, or a number with a unit: `250ms`, `5s`, `1.5m`, `2h`, `7d`. */
export type Duration = number | string;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const LONGEST_MS = 100 * 366 * 86_400_000;

/** How one option is checked and read. `G` is what may be given for it, `V` what the queue works with. */
export interface Rule<G, V = G> {
  readonly given?: G;
  readonly expected: string;
  /** Gives undefined for what does not fit. */
  readonly read: (value: unknown) => V | undefined;
  /** The value when none is given; undefined: one must be given. */
  readonly otherwise: V | undefined;
  /** What may have been meant. */
  readonly words?: readonly string[];
}

/** What may be given by a table of rules and of groups of rules. */
export type Given<Table> = { readonly [K in keyof Table]?: Table[K] extends Rule<infer G, unknown> ? G : Given<Table[K]> };

/** What comes of it. */
export type Values<Table> = { readonly [K in keyof Table]: Table[K] extends Rule<unknown, infer V> ? V : Values<Table[K]> };

export function fits<V>(expected: string, good: (value: unknown) => boolean, otherwise?: V, words: readonly string[] = []): Rule<V> {
  return { expected, read: (value) => (good(value) ? (value as V) : undefined), otherwise, words };
}

const isIn = (value: unknown, least: number, most: number) => typeof value === 'number' && value >= least && value <= most;

export function number(otherwise: number | undefined, least: number, most = Number.POSITIVE_INFINITY, kind = 'number'): Rule<number> {
  const range = most === Number.POSITIVE_INFINITY ? '' : ` to ${most}`;
  const good = (value: unknown) => isIn(value, least, most) && (kind === 'number' || Number.isSafeInteger(value));
  return fits(`a ${kind} from ${least}${range}`, good, otherwise);
}

export const whole = (otherwise: number | undefined, least: number, most?: number) => number(otherwise, least, most, 'whole number');

export const oneOf = <W extends string>(...words: readonly W[]): Rule<W> =>
  fits(words.join(', '), (value) => words.includes(value as W), words[0], words);

export const callable = <F>(otherwise?: F): Rule<F> => fits('a function', (value) => typeof value === 'function', otherwise);

/** A function that may be missing. */
export const optional = <F>(): Rule<F, F | null> => callable<F | null>(null) as Rule<F, F | null>;

/** Becomes milliseconds. */
export function duration(otherwise: number | undefined, least = 0): Rule<Duration, number> {
  const expected = `milliseconds from ${least}, or a number with ms, s, m, h or d, as in "5s"`;
  return { expected, read: (value) => (toMs(value) >= least ? toMs(value) : undefined), otherwise };
}

/** Milliseconds of a duration; NaN when it is none. */
export function toMs(value: unknown): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value.trim()) : null;
  const ms = match ? Number(match[1]) * UNITS[match[2]!]! : value;
  return isIn(ms, 0, LONGEST_MS) ? Math.round(ms as number) : Number.NaN;
}

/** Reads what was given by a table, group by group, and adds all that is wrong with it to `problems`. */
export function readBy(table: object, given: object, problems: string[], prefix = ''): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const key of Object.keys(given))
    if (!(key in table)) problems.push(`unknown option ${prefix}${key}${suggest(key, Object.keys(table))}`);
  for (const [key, rule] of Object.entries(table)) {
    const value = (given as Record<string, unknown>)[key];
    const wrong = (expected: string, hint = '') => problems.push(`expected ${prefix}${key} to be ${expected}; got ${show(value)}${hint}`);
    if (isRule(rule)) {
      values[key] = value === undefined ? rule.otherwise : rule.read(value);
      if (values[key] === undefined) wrong(rule.expected, suggest(value, rule.words ?? []));
    } else if (typeof (value ?? {}) === 'object') values[key] = readBy(rule, value ?? {}, problems, `${prefix}${key}.`);
    else wrong('an object');
  }
  return values;
}

const isRule = (rule: object): rule is Rule<unknown> => 'read' in rule;

const show = (value: unknown): string => (typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value));

/** Names the one that shares the most letters, if it is near enough for a slip of the pen. */
function suggest(word: unknown, names: readonly string[]): string {
  if (typeof word !== 'string' || word.length > 64) return '';
  const extra = (one: string, other: string) =>
    [...other.toLowerCase()].reduce((rest, letter) => rest.replace(letter, ''), one.toLowerCase());
  const distance = (name: string) => extra(word, name).length + extra(name, word).length;
  const [best] = names.toSorted((one, other) => distance(one) - distance(other));
  return best && distance(best) <= Math.max(1, word.length / 3) ? `, did you mean "${best}"?` : '';
}
