import { startArrivals } from './arrivals.js';
import type { Job, Measurement } from './contract.js';
import { percentile } from './measure.js';

/** Handlers that run at once, and how long each takes: 5,000 tasks a second. */
export const SLOTS = 50;
export const HANDLER_MS = 10;
/** Low tasks per second: ten times what the worker can do. */
const FLOOD = 10 * SLOTS * (1000 / HANDLER_MS);
/** High tasks per second. */
const URGENT = 100;
const WARMUP_MS = 1500;

/** What a side tells while it runs. */
export interface Pickups {
  /** A high task has begun, after so many ms. */
  high(ageMs: number): void;
  /** A low task has ended. */
  low(): void;
}

/**
 * High tasks in a steady trickle, and unless `idle` a flood of low ones, both from processes of their own; measures the time from the sending of a
 * high task to the beginning of its handler.
 */
export async function measurePickups(job: Job, idle: boolean, start: (pickups: Pickups) => Promise<void>): Promise<Measurement> {
  const ages: number[] = [];
  let [measuring, done] = [false, 0];
  await start({
    high: (ageMs) => void (measuring && ages.push(ageMs)),
    low: () => void (measuring && done++),
  });
  const order = { natsUrl: job.natsUrl, namespace: job.namespace };
  const floods = idle ? [] : [startArrivals({ ...order, lane: 'low', rate: FLOOD, stamped: false })];
  const urgent = startArrivals({ ...order, lane: 'high', rate: URGENT, stamped: true });
  await new Promise((resolve) => setTimeout(resolve, WARMUP_MS));
  const began = performance.now();
  measuring = true;
  await new Promise((resolve) => setTimeout(resolve, 1.5 * job.durationMs));
  measuring = false;
  const seconds = (performance.now() - began) / 1000;
  await urgent.stop();
  const stored = await Promise.all(floods.map((flood) => flood.stop()));
  const arrived = stored.reduce((sum, count) => sum + count, 0) / ((performance.now() - began + WARMUP_MS) / 1000);
  if (ages.length < URGENT * seconds * 0.5) throw new Error(`only ${ages.length} high tasks began in ${seconds.toFixed(1)} s`);
  return {
    values: {
      p50: percentile(ages, 0.5),
      p90: percentile(ages, 0.9),
      p99: percentile(ages, 0.99),
      max: Math.max(...ages),
      low: done / seconds,
      arrived,
    },
  };
}
