import { z } from 'zod';

/** Events that the resiliency service emits when an operator's command has been carried out: durable, for whoever wants to know. */
export const DEAD_LETTER_FACTS = {
  redriven: 'dead-letters.redriven',
  discarded: 'dead-letters.discarded',
  jobCancelled: 'dead-letters.job-cancelled',
} as const;
/** Name of one of these events. */
export type DeadLetterFactName = (typeof DEAD_LETTER_FACTS)[keyof typeof DEAD_LETTER_FACTS];

/** Data of a fact: who did what to which dead letter, or to which job that deals with many. */
export const deadLetterFactSchema = z.object({
  /** ms since 1970. */
  at: z.int(),
  caller: z.string(),
  /** Id of the task or of the job. */
  target: z.string(),
  /** What the caller was answered. */
  result: z.unknown(),
});
/** See {@link deadLetterFactSchema}. */
export type DeadLetterFact = z.infer<typeof deadLetterFactSchema>;
