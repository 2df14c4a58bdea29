import type { DeadLetterJob } from '@jetlane/protocol';
import type { DeadLetters } from '../../apps/resiliency/src/dead-letters.js';
import { eventually } from './services-fixture.js';

/** Starts a redrive by filter. */
export const begin = async (letters: DeadLetters, input: object) => (await letters.redrive(input)) as DeadLetterJob;

/** Waits for the end of a job. */
export async function ended(letters: DeadLetters, { id }: DeadLetterJob, timeoutMs = 20_000): Promise<DeadLetterJob> {
  let job = await letters.job({ id });
  await eventually(
    'the job has ended',
    async () => {
      job = await letters.job({ id });
      return job.state !== 'running';
    },
    timeoutMs,
  );
  return job;
}

/** As `takeAll` tells tasks. */
export const hops = (keys: string[], hop = 2) => keys.map((key) => `${key}#${hop}`).sort();
