import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { type Job, TASK_TYPE } from '../harness/contract.js';
import { payload } from '../harness/payload.js';

/** Jobs per `addBulk`. */
const BULK = 1000;

/** The connection options that BullMQ's workers ask for. */
export function connectionOf(job: Job) {
  return { host: '127.0.0.1', port: job.redisPort, maxRetriesPerRequest: null };
}

/** The queue of one round, on an emptied redis-server. */
export async function openQueue(job: Job): Promise<Queue> {
  await empty(job);
  return new Queue(job.namespace, { connection: connectionOf(job) });
}

/** Ends a round and leaves the redis-server empty. */
export async function closeQueue(job: Job, queue: Queue): Promise<void> {
  await queue.close();
  await empty(job);
}

async function empty(job: Job): Promise<void> {
  const redis = new Redis(connectionOf(job));
  await redis.flushall();
  await redis.quit();
}

/** Stores `count` jobs in bulks of 1000, up to `inFlight` bulks at a time. */
export async function addJobs(queue: Queue, count: number, inFlight: number): Promise<void> {
  let left = count;
  const adder = async () => {
    while (left > 0) {
      const length = Math.min(BULK, left);
      left -= length;
      await queue.addBulk(Array.from({ length }, () => ({ name: TASK_TYPE, data: payload })));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, adder));
}
