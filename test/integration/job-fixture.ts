import type { CommandInput, CommandOutput, DEAD_LETTER_COMMANDS } from '@jetlane/protocol';
import { eventually } from './services-fixture.js';

type Redrive = CommandInput<(typeof DEAD_LETTER_COMMANDS)['redrive']>;
type Job = CommandOutput<(typeof DEAD_LETTER_COMMANDS)['job']>;
/** The commands of the service, or of one copy of it. */
interface Letters {
  redrive(input: Redrive, by: string): Promise<unknown>;
  job(input: { job_id: string }): Promise<Job>;
}

/** Starts a redrive by filter. */
export const begin = async (letters: Letters, input: Redrive) => (await letters.redrive(input, 'ada')) as Job;

/** Waits for the end of a job. */
export async function ended(letters: Letters, { job_id }: { readonly job_id: string }, timeoutMs = 20_000): Promise<Job> {
  let job = await letters.job({ job_id });
  await eventually(
    'the job has ended',
    async () => {
      job = await letters.job({ job_id });
      return job.state !== 'running';
    },
    timeoutMs,
  );
  return job;
}

/** As `takeAll` tells tasks. */
export const hops = (keys: string[], hop = 2) => keys.map((key) => `${key}#${hop}`).sort();
