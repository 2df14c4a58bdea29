import type { Connection } from './connection.js';
import { ensureStream } from './ensure.js';

/** How much the stream of dead letters may hold. Beyond either bound the server removes the oldest. */
export interface DeadLetterBounds {
  /** In ms; 0: no bound. */
  readonly maxAgeMs: number;
  /** 0: no bound. The server sets this much of its disk aside. */
  readonly maxBytes: number;
}

/** The dead letters as a whole. */
export interface DeadLetterTotals {
  readonly count: number;
  readonly bytes: number;
  /** When the oldest was stored, ms since 1970; undefined when there is none. */
  readonly oldestAt: number | undefined;
  readonly lastSequence: number;
  /** The bounds that hold now. */
  readonly bounds: DeadLetterBounds;
}

const NANOS = 1_000_000;

/** One API request. */
export async function deadLetterTotals(connection: Connection): Promise<DeadLetterTotals> {
  const { streams } = await connection.admin();
  const { state, config } = await streams.info(connection.names.deadLetters);
  return {
    count: state.messages,
    bytes: state.bytes,
    oldestAt: state.messages > 0 ? Date.parse(String(state.first_ts)) : undefined,
    lastSequence: state.last_seq,
    bounds: { maxAgeMs: (config.max_age ?? 0) / NANOS, maxBytes: Math.max(0, config.max_bytes ?? 0) },
  };
}

/**
 * Sets the bounds, unless that would remove dead letters now: a setting must not throw tasks away.
 * @returns false when what is stored does not fit into them; then the old bounds hold
 * @throws JetlaneError `jetstream-api`, as when the server has not so much room
 */
export async function boundDeadLetters(connection: Connection, { maxAgeMs, maxBytes }: DeadLetterBounds): Promise<boolean> {
  const { bytes, oldestAt, bounds } = await deadLetterTotals(connection);
  if (bounds.maxAgeMs === maxAgeMs && bounds.maxBytes === maxBytes) return true;
  if (maxBytes > 0 && bytes > maxBytes) return false;
  if (maxAgeMs > 0 && oldestAt !== undefined && Date.now() - oldestAt > maxAgeMs) return false;
  await ensureStream(connection, {
    name: connection.names.deadLetters,
    max_age: maxAgeMs * NANOS,
    max_bytes: maxBytes > 0 ? maxBytes : -1,
    discard: 'old',
  });
  return true;
}
