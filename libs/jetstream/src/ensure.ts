import { JetlaneError } from '@jetlane/protocol';
import { type ConsumerConfig, JetStreamApiError, type StreamConfig } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';
import { untilAnswered } from './until-answered.js';

const STREAM_NOT_FOUND = 10059;
const CONSUMER_NOT_FOUND = 10014;
const STREAM_EXISTS = 10058;
const CONSUMER_EXISTS = 10148;
/** What the server says to a change of a field that is fixed at creation: of a stream, of a consumer. */
const NOT_UPDATABLE: readonly number[] = [10052, 10012];

/**
 * How long one request may go unanswered, in ms. While the leader of a new stream is elected, and when several create it at the same
 * moment, a cluster does not answer at all (measured on three nodes with four at once: most of them waited for the client's 10 s).
 */
export const ANSWER_MS = 2000;

/** The code of a JetStream API error, or 0. */
export const apiCode = (error: unknown): number => (error instanceof JetStreamApiError ? error.code : 0);

/** What a stream shall be. */
export type StreamWants = Partial<StreamConfig> & { readonly name: string };

/**
 * Creates or updates a stream and checks that the server echoes every field. On a cluster any request may go unanswered while leaders
 * are elected, also the one that was carried out: then all is asked again.
 * @param shrinks it may get fewer replicas than it has: only where somebody said so, and never by a process that knows no better
 */
export function ensureStream(connection: Connection, wants: StreamWants, shrinks = false): Promise<void> {
  return untilAnswered(() => tryStream(connection, wants, shrinks));
}

async function tryStream(connection: Connection, wants: StreamWants, shrinks: boolean): Promise<void> {
  const { streams } = await connection.admin(ANSWER_MS);
  const what = `stream "${wants.name}"`;
  const existing = await orMissing(STREAM_NOT_FOUND, () => streams.info(wants.name));
  const wanted = existing ? asWanted(wants, existing.config, shrinks) : wants;
  if (existing && differences(wanted, existing.config).length === 0) return;
  const write = () => (existing ? streams.update(wants.name, wanted) : streams.add(wanted));
  const written = await write().catch((error: unknown) => {
    if (apiCode(error) === STREAM_EXISTS) return streams.info(wants.name);
    throw existing ? updateError(what, wanted, existing.config, error) : apiError(what, error);
  });
  assertEchoed(what, asWanted(wanted, written.config, shrinks), written.config);
}

/** Replicas are raised by whoever wants more; they are lowered only on purpose. */
function asWanted(wants: StreamWants, { num_replicas: has }: StreamConfig, shrinks: boolean): StreamWants {
  return shrinks || (wants.num_replicas ?? 1) >= has ? wants : { ...wants, num_replicas: has };
}

/** Fields in which a stream is not what it shall be. */
export const streamDrift = (wants: StreamWants, has: StreamConfig, shrinks: boolean): string[] =>
  differences(asWanted(wants, has, shrinks), has);

/** What a durable consumer shall be. */
export type ConsumerWants = Partial<ConsumerConfig> & { readonly durable_name: string };

/**
 * Likewise for a durable consumer.
 * @param atCreation what is set when it is made, and never afterwards
 */
export function ensureConsumer(
  connection: Connection,
  stream: string,
  wants: ConsumerWants,
  atCreation: () => Promise<Partial<ConsumerConfig>> = async () => ({}),
): Promise<void> {
  return untilAnswered(() => tryConsumer(connection, stream, wants, atCreation));
}

async function tryConsumer(
  connection: Connection,
  stream: string,
  wants: ConsumerWants,
  atCreation: () => Promise<Partial<ConsumerConfig>>,
): Promise<void> {
  const { consumers } = await connection.admin(ANSWER_MS);
  const what = `consumer "${wants.durable_name}" of stream "${stream}"`;
  const existing = await orMissing(CONSUMER_NOT_FOUND, () => consumers.info(stream, wants.durable_name));
  if (existing && differences(wants, existing.config).length === 0) return;
  const write = async () =>
    existing ? consumers.update(stream, wants.durable_name, wants) : consumers.add(stream, { ...wants, ...(await atCreation()) });
  const written = await write().catch((error: unknown) => {
    if (apiCode(error) === CONSUMER_EXISTS) return consumers.info(stream, wants.durable_name);
    throw existing ? updateError(what, wants, existing.config, error) : apiError(what, error);
  });
  // After a restart the server answers the first update of a consumer with its old configuration, though it took the new one
  // (nats-server 2.15.1). Test: steer-pause.spec "stays paused".
  const echo = differences(wants, written.config).length > 0 ? await consumers.info(stream, wants.durable_name) : written;
  assertEchoed(what, wants, echo.config);
}

/** Deletes a stream if it is there. */
export async function removeStream(connection: Connection, name: string): Promise<void> {
  const { streams } = await connection.admin();
  await orMissing(STREAM_NOT_FOUND, () => streams.delete(name));
}

async function orMissing<T>(code: number, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (apiCode(error) === code) return undefined;
    throw apiError('JetStream API', error);
  }
}

/** A field that is fixed at creation differs: no repetition mends that, so it is not the API's error but a mismatch. */
function updateError(what: string, wants: object, got: object, error: unknown): JetlaneError {
  if (!NOT_UPDATABLE.includes(apiCode(error))) return apiError(what, error);
  const missing = differences(wants, got);
  return new JetlaneError(
    'stream-mismatch',
    `${what} exists with another ${missing.join(', ')}, which cannot all be changed: ${(error as Error).message}; delete it when it is empty, or use another namespace`,
    { cause: error, details: { missing, errCode: apiCode(error) } },
  );
}

function apiError(what: string, error: unknown): JetlaneError {
  if (error instanceof JetlaneError) return error;
  const denied = permissionDenied(error);
  if (denied) return denied;
  const message = error instanceof Error ? error.message : String(error);
  return new JetlaneError('jetstream-api', `${what} cannot be provisioned: ${message}`, {
    cause: error,
    details: { errCode: apiCode(error) },
  });
}

/** @throws JetlaneError `stream-mismatch`: an old server stores what it knows and drops the rest without a word */
function assertEchoed(what: string, wants: object, got: object): void {
  const missing = differences(wants, got);
  if (missing.length > 0) {
    throw new JetlaneError(
      'stream-mismatch',
      `${what} did not take ${missing.join(', ')}; the server is too old, or somebody else manages it`,
      { details: { missing } },
    );
  }
}

/** Fields in which a stored configuration is not what is wanted. */
export function differences(wants: object, got: object): string[] {
  const echoed = got as Record<string, unknown>;
  return Object.entries(wants)
    .filter(([key, value]) => value !== undefined && !same(value, echoed[key]))
    .map(([key]) => key);
}

function same(want: unknown, got: unknown): boolean {
  if (typeof want !== 'object' || want === null) return want === got || (want === false && got === undefined);
  if (Array.isArray(want)) return Array.isArray(got) && want.length === got.length && want.every((item, i) => same(item, got[i]));
  return typeof got === 'object' && got !== null && differences(want, got).length === 0;
}
