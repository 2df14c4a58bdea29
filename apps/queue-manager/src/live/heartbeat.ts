import { type Heartbeat, LANES } from '@jetlane/protocol';
import { z } from 'zod';

const running = z.object({
  key: z.string(),
  lane: z.enum(LANES),
  hop: z.number(),
  attempt: z.number(),
  startedAt: z.number(),
  progress: z.unknown().optional(),
});

const schema = z.object({
  worker: z.string(),
  queue: z.string(),
  host: z.string(),
  pid: z.number(),
  version: z.string(),
  startedAt: z.number(),
  at: z.number(),
  slots: z.number(),
  busy: z.number(),
  types: z.array(z.string()),
  running: z.array(running).max(1000),
  utilisation: z.number().optional(),
  load: z.object({ lagMs: z.number(), cpu: z.number(), rssMb: z.number(), heapMb: z.number() }).optional(),
  stopping: z.boolean().optional(),
});

/** A heartbeat of another process, perhaps a stranger's; `undefined` for what is none. */
export function readHeartbeat(value: unknown): Heartbeat | undefined {
  const parsed = schema.safeParse(value);
  return parsed.success ? (parsed.data as Heartbeat) : undefined;
}

/** The same from the text of a message. */
export function parseHeartbeat(text: string): Heartbeat | undefined {
  try {
    return readHeartbeat(JSON.parse(text));
  } catch {
    return undefined;
  }
}
