import { readFile } from 'node:fs/promises';

/** One run of a handler that came to its effect. */
export interface Effect {
  readonly at: number;
  readonly worker: string;
  readonly delivery: number;
}

/** What the producer was told of one task. */
export interface Confirmed {
  readonly at: number;
  /** When it was sent; the confirmation may have come late. */
  readonly sentAt: number;
  readonly n: number;
  /** It must end as a dead letter. */
  readonly dead: boolean;
}

/** The audit's file, read: all that the verdict rests on. */
export interface Ledger {
  readonly confirmed: ReadonlyMap<string, Confirmed>;
  readonly effects: ReadonlyMap<string, readonly Effect[]>;
  /** Codes of the refusals. */
  readonly refused: readonly string[];
}

export async function readLedger(file: string): Promise<Ledger> {
  return parseLedger(await readFile(file, 'utf8'));
}

/** See the audit program for the lines. */
export function parseLedger(text: string): Ledger {
  const confirmed = new Map<string, Confirmed>();
  const effects = new Map<string, Effect[]>();
  const refused: string[] = [];
  for (const line of text.split('\n')) {
    const [time, verb, key = '', second = '', third = '', fourth, worker = ''] = line.split(' ');
    const at = Number(time);
    if (verb === 'C') confirmed.set(key, { at, sentAt: Number(fourth ?? time), n: Number(second), dead: third === 'dead' });
    else if (verb === 'F') refused.push(second);
    else if (verb === 'E') {
      const effect = { at, worker, delivery: Number(fourth) };
      const known = effects.get(key);
      if (known) known.push(effect);
      else effects.set(key, [effect]);
    }
  }
  return { confirmed, effects, refused };
}

/** Confirmed tasks that must have had an effect and had none. */
export function missing({ confirmed, effects }: Ledger): string[] {
  return [...confirmed].filter(([key, { dead }]) => !dead && !effects.has(key)).map(([key]) => key);
}

/** Effects beyond the first. */
export function duplicates({ effects }: Ledger): number {
  let count = 0;
  for (const list of effects.values()) count += list.length - 1;
  return count;
}

/** Effects in the second before any of some moments; each was followed by an acknowledgement. */
export function effectsBefore({ effects }: Ledger, moments: readonly number[]): number {
  let count = 0;
  for (const list of effects.values()) for (const { at } of list) if (moments.some((moment) => at > moment - 1000 && at <= moment)) count++;
  return count;
}

/** Most effects in any second: what may have been in the second before a fault whose moment nobody knows. */
export function busiestSecond({ effects }: Ledger): number {
  const times = [...effects.values()].flat().map(({ at }) => at);
  times.sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last++) {
    while (times[last]! - times[first]! >= 1000) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** Tasks that came to their effect so much later than one that was confirmed after them: they were stuck, though not for ever. */
export function overtaken({ confirmed, effects }: Ledger, byMs: number): string[] {
  const done = [...confirmed].flatMap(([key, { at }]) => {
    const first = effects.get(key)?.[0]?.at;
    return first === undefined ? [] : [{ key, at, first }];
  });
  done.sort((a, b) => b.at - a.at);
  const found: string[] = [];
  let earliest = Number.POSITIVE_INFINITY;
  for (const { key, first } of done) {
    if (first - earliest > byMs) found.push(key);
    earliest = Math.min(earliest, first);
  }
  return found;
}

export interface Recovery {
  /** From the fault to the effect of tasks that were confirmed and without effect by then, 99th percentile, ms. */
  readonly p99: number;
  /** Longest time, from the fault on, in which nothing was done though there was something to do, ms. */
  readonly gap: number;
}

export function recovery({ confirmed, effects }: Ledger, fault: number): Recovery {
  const delays: number[] = [];
  for (const [key, list] of effects) {
    const first = list[0]!.at;
    const stored = confirmed.get(key);
    if (stored && stored.at <= fault && first > fault) delays.push(first - fault);
  }
  delays.sort((a, b) => a - b);
  return { p99: delays[Math.ceil(delays.length * 0.99) - 1] ?? 0, gap: longestPause({ confirmed, effects }, fault) };
}

function longestPause({ confirmed, effects }: Pick<Ledger, 'confirmed' | 'effects'>, fault: number): number {
  const steps: { at: number; change: 1 | -1 }[] = [];
  for (const [key, { at }] of confirmed) {
    const done = effects.get(key)?.[0]?.at;
    // What never comes to an effect is counted elsewhere. A confirmation may be told after the effect.
    if (done !== undefined) steps.push({ at: Math.min(at, done), change: 1 }, { at: done, change: -1 });
  }
  steps.sort((a, b) => a.at - b.at || b.change - a.change);
  let open = 0;
  let since = fault;
  let longest = 0;
  for (const { at, change } of steps) {
    if (change < 0 && at > fault) longest = Math.max(longest, at - Math.max(since, fault));
    if (change < 0 || open === 0) since = at;
    open += change;
  }
  return longest;
}
