import type { DeadLetterJob } from '@jetlane/protocol';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { assertQueueNamed, type Caller } from '../access/caller.js';
import { SERVICE_PROBLEMS } from './dead-letter-moves.js';
import { jobSchema, jobView } from './dead-letter-view.js';
import { DEAD_LETTERS } from './dead-letters.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const params = z.object({ job_id: z.string() });

/** `GET /api/v1/dead-letters/jobs`, `GET` and `DELETE …/jobs/{job_id}` */
export function deadLetterJobRoutes(gateway: Gateway): ApiRoute[] {
  const one = {
    tag: 'dead-letters',
    path: `${DEAD_LETTERS}/jobs/{job_id}`,
    url: `${DEAD_LETTERS}/jobs/:job_id`,
    params,
    answers: { 200: [{ description: 'The job.', schema: jobSchema }] },
    problems: [...SERVICE_PROBLEMS, 'job-not-found'],
  } as const;
  return [
    {
      method: 'GET',
      path: `${DEAD_LETTERS}/jobs`,
      operationId: 'listDeadLetterJobs',
      scope: 'read',
      tag: 'dead-letters',
      summary: 'Jobs that redrive or discard',
      description: 'Those of the last seven days, newest first.',
      answers: { 200: [{ description: 'The jobs.', schema: z.object({ jobs: z.array(jobSchema) }) }] },
      problems: SERVICE_PROBLEMS,
      handler: async ({ caller }) => {
        assertConnected(gateway);
        return { jobs: (await gateway.client.deadLetters.jobs()).filter((job) => maySee(caller, job)).map(jobView) };
      },
    },
    {
      ...one,
      method: 'GET',
      operationId: 'getDeadLetterJob',
      scope: 'read',
      summary: 'How a job fares',
      description: 'Written once a second while it runs.',
      handler: async (request) => {
        return jobView(await readJob(gateway, request));
      },
    },
    {
      ...one,
      method: 'DELETE',
      operationId: 'cancelDeadLetterJob',
      scope: 'operate',
      summary: 'Cancel a job',
      description: 'It ends after what it has in hand; what was moved stays moved. A job that has ended stays as it is.',
      handler: async (request) => {
        const { id } = await readJob(gateway, request);
        return jobView(await gateway.client.deadLetters.cancelJob(id));
      },
    },
  ];
}

const maySee = ({ queues }: Caller, { filter }: DeadLetterJob): boolean =>
  queues === undefined || (filter.queue !== undefined && queues.has(filter.queue));

/** @throws JetlaneError `job-not-found`, `forbidden` */
async function readJob(gateway: Gateway, request: FastifyRequest): Promise<DeadLetterJob> {
  assertConnected(gateway);
  const job = await gateway.client.deadLetters.job((request.params as { job_id: string }).job_id);
  assertQueueNamed(request.caller, job.filter.queue, 'filter.queue_name');
  return job;
}
