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
    if (verb === 'C') confirmed.set(key, { at, n: Number(second), dead: third === 'dead' });
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

/** Effects in the second before a moment; each was followed by an acknowledgement. */
export function effectsBefore({ effects }: Ledger, moment: number): number {
  let count = 0;
  for (const list of effects.values()) for (const { at } of list) if (at > moment - 1000 && at <= moment) count++;
  return count;
}

export interface Recovery {
  /** From the fault to the effect of tasks that were confirmed and without effect by then, 99th percentile, ms. */
  readonly p99: number;
  /** Longest pause between two effects from the fault on, ms. */
  readonly gap: number;
}

export function recovery({ confirmed, effects }: Ledger, fault: number): Recovery {
  const delays: number[] = [];
  const times: number[] = [fault];
  for (const [key, list] of effects) {
    const first = list[0]!.at;
    const stored = confirmed.get(key);
    if (stored && stored.at <= fault && first > fault) delays.push(first - fault);
    for (const { at } of list) if (at > fault) times.push(at);
  }
  delays.sort((a, b) => a - b);
  times.sort((a, b) => a - b);
  const gap = times.reduce((longest, at, i) => Math.max(longest, i === 0 ? 0 : at - times[i - 1]!), 0);
  return { p99: delays[Math.ceil(delays.length * 0.99) - 1] ?? 0, gap };
}
