import { isTaskKey, JetlaneError } from '@jetlane/protocol';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';

/** The header, for the API description. */
export const idempotencyHeaders = z.object({
  'Idempotency-Key': z
    .string()
    .optional()
    .describe('Counts as `task_id` of the body: letters, digits, _ and -, at most 128, with or without double quotes.'),
});

/**
 * The key of a task: `task_id` of the body or the header `Idempotency-Key`.
 * @throws JetlaneError `invalid-argument` for a header that is no key, or differs from the body
 */
export function idempotencyKey({ headers }: Pick<FastifyRequest, 'headers'>, taskId: string | undefined): string | undefined {
  const header = headers['idempotency-key'];
  if (header === undefined) return taskId;
  const key = /^"(.*)"$/.exec(String(header))?.[1] ?? String(header);
  if (!isTaskKey(key)) throw wrong('expected letters, digits, _ and -, at most 128');
  if (taskId !== undefined && taskId !== key) throw wrong('differs from "task_id" in the body; give one of them');
  return key;
}

/** For routes where the header could not do what it promises. @throws JetlaneError `invalid-argument` */
export function refuseIdempotencyKey({ headers }: Pick<FastifyRequest, 'headers'>, instead: string): void {
  if (headers['idempotency-key'] !== undefined) throw wrong(`is not read here; ${instead}`);
}

function wrong(message: string): JetlaneError {
  return new JetlaneError('invalid-argument', `Idempotency-Key: ${message}`, {
    details: { issues: [{ path: 'Idempotency-Key', message }] },
  });
}
