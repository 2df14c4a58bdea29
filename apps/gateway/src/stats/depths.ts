import type { QueueStats } from '@jetlane/client';
import { LANES, type Lane } from '@jetlane/protocol';
import { z } from 'zod';

const lane = z.object({ depth: z.number(), ackPending: z.number(), oldestAgeMs: z.number().nullable() });

/** What the gateway uses of the answer to `queue-manager.stats`. */
const depthsSchema = z.array(
  z.object({
    queue: z.string(),
    lanes: z.object(Object.fromEntries(LANES.map((name) => [name, lane])) as Record<Lane, typeof lane>),
    depth: z.number(),
    active: z.number(),
    scheduled: z.number(),
    dead: z.number(),
    paused: z.boolean(),
  }),
);

/** Checks what the queue-manager answered: it is another process, perhaps of another version. */
export const readDepths = (answer: unknown): QueueStats[] => depthsSchema.parse(answer);
