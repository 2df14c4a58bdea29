import { HopHistograms, startHttp, startProcess, startSend } from '@jetlane/telemetry';
import { context, trace } from '@opentelemetry/api';
import { AlwaysOffSampler, AlwaysOnSampler, NodeTracerProvider, type Sampler } from '@opentelemetry/sdk-trace-node';
import { type Job, LANE, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';

const TASKS = 100_000;
const ROUNDS = 5;
const SENT = { queue: QUEUE, lane: LANE, type: TASK_TYPE, key: 'k' };
const PROCESSED = { id: `${QUEUE}.k`, queue: QUEUE, lane: LANE, type: TASK_TYPE, attempt: 1, hop: 1, delivery: 1 };
const REQUEST = { method: 'POST', route: '/api/queue/enqueue', path: '/api/queue/enqueue', scheme: 'http' };
const MOMENTS = { created: 1_000, stored: 1_001, fetched: 1_002, started: 1_003, finished: 1_004, settled: 1_005 };

/** What tracing costs a task from its send to its settlement, in microseconds of CPU time: best of several rounds. */
export async function run(_: Job): Promise<Measurement> {
  const none = cost();
  const off = await withSdk(new AlwaysOffSampler());
  const on = await withSdk(new AlwaysOnSampler());
  const http = await withSdk(new AlwaysOnSampler(), oneRequest);
  return { values: { none, off, on, http } };
}

async function withSdk(sampler: Sampler, work = oneTask): Promise<number> {
  const provider = new NodeTracerProvider({ sampler });
  provider.register();
  const found = cost(work);
  trace.disable();
  context.disable();
  await provider.shutdown();
  return found;
}

function cost(work = oneTask): number {
  const hops = new HopHistograms();
  let fastest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    for (let task = 0; task < TASKS; task += 1) work(hops);
    const { user, system } = process.cpuUsage(before);
    fastest = Math.min(fastest, user + system);
  }
  return fastest / TASKS;
}

/** What the gateway does for a request beside what is done for its task. */
const oneRequest = (): void => startHttp(REQUEST, {})?.end(202);

/** What client and worker do for a task. */
function oneTask(hops: HopHistograms): void {
  const send = startSend(SENT);
  send.end();
  const run = startProcess(() => PROCESSED, send.traceparent ? { traceparent: send.traceparent } : {});
  run.run(() => undefined);
  run.settling();
  run.end({ outcome: 'completed', moments: () => MOMENTS });
  hops.record(MOMENTS);
}
