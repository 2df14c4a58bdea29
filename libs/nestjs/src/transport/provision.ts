import { type Connection, consumerState } from '@jetlane/jetstream';
import { JetlaneError, toMs } from '@jetlane/protocol';
import { nestLog } from '../module/nest-log.js';
import type { KeptEvents } from './options.js';

const NANOS = 1_000_000;
const STREAM_EXISTS = 10058;
/** Of a consumer, of a stream. */
const NOT_FOUND: readonly unknown[] = [10014, 10059];
const READER = /^[A-Za-z0-9_-]+$/;
/** A reader that is silent for so long gets its events taken away; handlers that run extend it. */
export const EVENT_LEASE_MS = 30_000;
/** How long a process may be gone before the server forgets its broadcast reader. */
const BROADCAST_MEMORY_MS = 60_000;
const MOST_UNSETTLED = 10_000;

const EVENT_BYTES = 1024 ** 3;
/** Dead events wait for somebody to look: longer than events, and they are fewer. */
const DEAD_EVENTS = { max_age: 30 * 86_400_000 * NANOS, max_bytes: 256 * 1024 ** 2 };

/**
 * Makes the streams of events and of dead events if nobody did; what stands is left as it is.
 * @throws JetlaneError `jetstream-api`, as when the server has not so much room; `invalid-argument` for a bound that cannot be read
 */
export async function ensureEventStreams(connection: Connection, kept: KeptEvents): Promise<void> {
  const { names, replicas } = connection;
  const common = { storage: 'file' as const, num_replicas: replicas, retention: 'limits' as const, allow_direct: true };
  const subjects = [names.event('>'), names.redrivenEvent('*', '>')];
  await ensure(connection, names.events, { ...common, subjects, ...boundsOf(kept) });
  await ensure(connection, names.deadEvents, { ...common, subjects: [names.deadEvent('*', '*')], max_msgs_per_subject: 1, ...DEAD_EVENTS });
}

/** The bounds of a stream as the server has them: ns, and bytes or -1. */
interface StreamBounds {
  readonly max_age: number;
  readonly max_bytes: number;
}

function boundsOf({ keepEvents = '7d', keepEventBytes = EVENT_BYTES }: KeptEvents): StreamBounds {
  if (!Number.isSafeInteger(keepEventBytes) || keepEventBytes < 0) {
    throw new JetlaneError('invalid-argument', `expected keepEventBytes to be a whole number of bytes, or 0; got ${keepEventBytes}`, {
      details: { field: 'keepEventBytes' },
    });
  }
  return { max_age: toMs(keepEvents, 'keepEvents') * NANOS, max_bytes: keepEventBytes || -1 };
}

async function ensure<C extends StreamBounds>(connection: Connection, name: string, config: C): Promise<void> {
  const { streams } = await connection.admin();
  const standing = await streams.info(name).catch((error: unknown) => {
    if (!NOT_FOUND.includes(codeOf(error))) throw error;
  });
  if (standing) return tellDifference(name, config, standing.config);
  await streams.add({ ...config, name }).catch((error: unknown) => {
    if (codeOf(error) !== STREAM_EXISTS) throw apiError(`stream "${name}"`, error);
  });
}

function tellDifference(stream: string, wants: StreamBounds, has: StreamBounds): void {
  if (wants.max_age === has.max_age && wants.max_bytes === has.max_bytes) return;
  const words = ({ max_age, max_bytes }: StreamBounds) => ({ maxAgeMs: max_age / NANOS, maxBytes: Math.max(0, max_bytes) });
  nestLog.warn({ stream, has: words(has), wants: words(wants) }, 'stream:differs');
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;

/** A reader of events as the server knows it. */
export interface ReaderSpec {
  readonly name: string;
  readonly pattern: string;
  readonly broadcast: boolean;
  /** First event of a reader that does not exist: a sequence, or a policy. */
  readonly from: 'new' | 'all' | number;
}

/** Makes the reader's consumer if it is missing. Idempotent. @throws JetlaneError `jetstream-api` */
export async function ensureReader(connection: Connection, { name, pattern, broadcast, from }: ReaderSpec): Promise<void> {
  const { names } = connection;
  if (await consumerState(connection, names.events, name)) return;
  const { consumers } = await connection.admin();
  const start = typeof from === 'number' ? { deliver_policy: 'by_start_sequence' as const, opt_start_seq: from } : { deliver_policy: from };
  const config = {
    durable_name: name,
    ack_policy: 'explicit' as const,
    ...start,
    ack_wait: EVENT_LEASE_MS * NANOS,
    max_deliver: -1,
    max_ack_pending: MOST_UNSETTLED,
    filter_subjects: [names.event(pattern), names.redrivenEvent(name, '>')],
    ...(broadcast ? { inactive_threshold: BROADCAST_MEMORY_MS * NANOS, num_replicas: 1, mem_storage: true } : {}),
  };
  await consumers.add(names.events, config).catch((error: unknown) => {
    throw apiError(`reader "${name}"`, error);
  });
}

/**
 * Whether a reader gets what is sent again to it. A broadcast reader whose process is gone does not, though the server remembers it for a
 * while: it must be asking for events now.
 */
export async function hearsRedriven(connection: Connection, name: string): Promise<boolean> {
  const { names } = connection;
  if (!READER.test(name)) return false;
  const { consumers } = await connection.admin();
  const info = await consumers.info(names.events, name).catch((error: unknown) => {
    if (NOT_FOUND.includes(codeOf(error))) return undefined;
    throw apiError(`redrive to reader "${name}"`, error);
  });
  if (!info?.config.filter_subjects?.includes(names.redrivenEvent(name, '>'))) return false;
  return !info.config.inactive_threshold || info.num_waiting > 0;
}

/** Deletes a reader that only this process used. */
export async function removeReader(connection: Connection, name: string): Promise<void> {
  if (connection.state !== 'connected') return;
  const { consumers } = await connection.admin();
  // The server forgets it by itself; this only tidies up earlier.
  await consumers.delete(connection.names.events, name).catch(() => undefined);
}

function apiError(what: string, cause: unknown): JetlaneError {
  return new JetlaneError('jetstream-api', `${what} cannot be made: ${(cause as Error).message}`, { cause });
}
