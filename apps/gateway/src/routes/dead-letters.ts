import { callCommand } from '@jetlane/nestjs/service';
import {
  type Command,
  type CommandInput,
  DEAD_LETTER_COMMANDS,
  deadLetterDetailView,
  deadLetterFilterOf,
  deadLetterPageView,
} from '@jetlane/protocol';
import { assertQueueNamed, assertTask } from '../access/caller.js';
import { traceOfRequest } from '../http/trace.js';
import type { CommandCall, CommandRun } from './commands.js';
import type { Gateway } from './route.js';

const { list, get, redrive, discard, discardOne, job, cancelJob } = DEAD_LETTER_COMMANDS;

/** What the gateway does itself of the commands about dead letters. */
export const DEAD_LETTER_RUNS: Readonly<Record<string, CommandRun>> = {
  // Reading asks the stream: it goes on without the service.
  [list.name]: {
    run: async ({ client }, { input }) => {
      const { limit, cursor: after = 0, ...filter } = input as CommandInput<typeof list>;
      return deadLetterPageView(await client.deadLetters.list(deadLetterFilterOf(filter), { limit, after }));
    },
  },
  [get.name]: {
    checksQueue: true,
    run: async ({ client }, { input, request }) => {
      const { task_id } = input as CommandInput<typeof get>;
      assertTask(request.caller, task_id);
      return deadLetterDetailView(await client.deadLetters.get(task_id));
    },
  },
  [redrive.name]: { run: call },
  [discard.name]: { run: call },
  [discardOne.name]: { run: call },
  [job.name]: { checksQueue: true, run: (gateway, asked) => readJob(gateway, asked) },
  [cancelJob.name]: {
    checksQueue: true,
    run: async (gateway, asked) => {
      await readJob(gateway, asked);
      return call(gateway, asked);
    },
  },
};

/** The log of the service, and the job, tell with which request it began. */
function call({ connection }: Gateway, { command, given, request }: CommandCall): Promise<unknown> {
  return callCommand(connection, command as Command, given, `${request.caller.name}, request ${request.id}`, traceOfRequest(request));
}

/** A job is its queue's: who may not use that may not see it. @throws JetlaneError `job-not-found`, `forbidden` */
async function readJob({ connection }: Gateway, { input, request: { caller } }: CommandCall) {
  const { job_id } = input as CommandInput<typeof job>;
  const found = await callCommand(connection, job, { job_id }, caller.name);
  const { queue_name } = found.filter;
  assertQueueNamed(caller, queue_name, 'filter.queue_name');
  return found;
}
