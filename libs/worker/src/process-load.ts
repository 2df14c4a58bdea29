import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { ProcessLoad } from '@jetlane/protocol';

/** The monitor samples at this interval, in ms, and counts it in. */
const RESOLUTION_MS = 20;
const MB = 1024 ** 2;

/** How busy this process was since the last look: event-loop lag, memory, processor. */
export class ProcessMeter {
  private delay: IntervalHistogram | undefined;
  private cpu = process.cpuUsage();
  private lookedAt = performance.now();

  start(): void {
    this.delay ??= monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.delay.enable();
  }

  stop(): void {
    this.delay?.disable();
  }

  read(): ProcessLoad {
    const now = performance.now();
    const { user, system } = process.cpuUsage(this.cpu);
    const { rss, heapUsed } = process.memoryUsage();
    const load: ProcessLoad = {
      lagMs: round(this.delay && this.delay.count > 0 ? Math.max(0, this.delay.max / 1e6 - RESOLUTION_MS) : 0),
      cpu: round((user + system) / 1000 / Math.max(1, now - this.lookedAt)),
      rssMb: Math.round(rss / MB),
      heapMb: Math.round(heapUsed / MB),
    };
    this.delay?.reset();
    this.cpu = process.cpuUsage();
    this.lookedAt = now;
    return load;
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;
