import type { Job, Side } from './harness/contract.js';
import { deleteNamespace } from './wire/admin.js';
import { WireLink } from './wire/link.js';

/** What a child process is asked for: a side by its path below this folder, and how many tasks to warm it up with. */
export interface ChildOrder {
  side: string;
  job: Job;
  warmup: number;
}

// A side never outlives the benchmark; leaving through `exit` lets it take down what it started itself.
for (const end of ['SIGTERM', 'disconnect'] as const) process.once(end, () => process.exit(1));

/** One side, one round, one process: warms up in a namespace of its own, measures, cleans up, reports, ends. */
process.once('message', (order: ChildOrder) => {
  measure(order).then(
    (measurement) => process.send!({ measurement }, () => process.exit(0)),
    (error) => process.send!({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) }, () => process.exit(1)),
  );
});

async function measure({ side, job, warmup }: ChildOrder) {
  const { run } = (await import(`./${side}.js`)) as { run: Side };
  const janitor = await WireLink.open(job.natsUrl, 'bench-janitor');
  try {
    if (warmup > 0) await run({ ...job, namespace: `${job.namespace}warm`, count: warmup });
    return await run(job);
  } finally {
    await deleteNamespace(janitor, job.namespace);
    await janitor.close();
  }
}
