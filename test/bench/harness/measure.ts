import { readFileSync } from 'node:fs';

/** Ticks per second of the CPU times in /proc: fixed at 100 on every Linux platform that Node supports. */
const TICKS_PER_SECOND = 100;

/** CPU time of a process so far, user and system, in milliseconds; NaN where there is no /proc or no such process. */
export function cpuMillis(pid: number): number {
  try {
    // The command name may hold spaces and parentheses, so the fields are counted from its last parenthesis.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
  } catch {
    return Number.NaN;
  }
}

/** Resident memory of a process in MB; NaN where there is no /proc or no such process. */
export function residentMegabytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}

/** Measures wall time and the CPU of this process and of a server from its creation until `stop`. */
export class Stopwatch {
  private readonly startedAt = performance.now();
  private readonly ownCpu = process.cpuUsage();
  private readonly serverCpu: number;

  constructor(private readonly serverPid: number) {
    this.serverCpu = cpuMillis(serverPid);
  }

  /**
   * `rate` per second, and `serverCpu` and `clientCpu` in milliseconds per 1000 of `count`. The rate may be taken over a narrower span
   * than from creation to now; both ends are on the clock of `performance.now()`.
   */
  stop(count: number, span: { from?: number; until?: number } = {}): Record<string, number> {
    const own = process.cpuUsage(this.ownCpu);
    const millis = (span.until ?? performance.now()) - (span.from ?? this.startedAt);
    return {
      rate: count / (millis / 1000),
      serverCpu: (cpuMillis(this.serverPid) - this.serverCpu) / (count / 1000),
      clientCpu: (own.user + own.system) / 1000 / (count / 1000),
    };
  }
}

/** The value below which the given share (0…1) of the samples lies; sorts a copy. */
export function percentile(samples: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(samples).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Median of a few figures (the mean of the middle two when their number is even). */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
