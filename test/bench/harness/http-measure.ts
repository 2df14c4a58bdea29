import { type Job, type Measurement, QUEUE, TASK_TYPE } from './contract.js';
import { runLoad } from './load.js';
import { cpuMillis } from './measure.js';
import { payload } from './payload.js';

/** Connections that send at the same time. */
const CONNECTIONS = 100;

/** The body of a single enqueue as the gateway takes it. */
export const enqueueBody = JSON.stringify({ queue_name: QUEUE, task_type: TASK_TYPE, task_data: payload, priority: 'NORMAL' });

export interface Loaded extends Measurement {
  /** Tasks that the server answered with 202, from its first request on. */
  accepted: number;
}

export interface Target {
  port: number;
  path: string;
  pid: number;
  /** Default: keep-alive connections. */
  fresh?: boolean;
  headers?: readonly string[];
}

/** Loads a server that is up, measuring its own CPU and the nats-server's; any answer but 202 is an error. */
export async function loadEnqueue(job: Job, target: Target): Promise<Loaded> {
  const cpu = { client: 0, server: 0 };
  const order = {
    port: target.port,
    path: target.path,
    body: enqueueBody,
    connections: CONNECTIONS,
    fresh: target.fresh ?? false,
    headers: target.headers ?? [],
  };
  const report = await runLoad({ ...order, warmupMs: job.durationMs / 2, durationMs: job.durationMs }, (edge) => {
    const sign = edge === 'begin' ? -1 : 1;
    cpu.client += sign * cpuMillis(target.pid);
    cpu.server += sign * cpuMillis(job.natsPid);
  });
  if (report.refused > 0) throw new Error(`${report.refused} of ${report.refused + report.accepted} requests were not answered with 202`);
  const values = {
    rate: report.measured / (report.measuredMs / 1000),
    p50: report.p50,
    p99: report.p99,
    clientCpu: cpu.client / (report.measured / 1000),
    serverCpu: cpu.server / (report.measured / 1000),
  };
  return { values, accepted: report.accepted };
}
