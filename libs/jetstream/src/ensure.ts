import { JetlaneError } from '@jetlane/protocol';
import { type ConsumerConfig, JetStreamApiError, type StreamConfig } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';

const STREAM_NOT_FOUND = 10059;
const CONSUMER_NOT_FOUND = 10014;
const STREAM_EXISTS = 10058;
const CONSUMER_EXISTS = 10148;
/** What the server says to a change of a field that is fixed at creation: of a stream, of a consumer. */
const NOT_UPDATABLE: readonly number[] = [10052, 10012];

/** The code of a JetStream API error, or 0. */
export const apiCode = (error: unknown): number => (error instanceof JetStreamApiError ? error.code : 0);

/** Creates or updates a stream and checks that the server echoes every field. */
export async function ensureStream(connection: Connection, wants: Partial<StreamConfig> & { name: string }): Promise<void> {
  const { streams } = await connection.admin();
  const what = `stream "${wants.name}"`;
  const existing = await orMissing(STREAM_NOT_FOUND, () => streams.info(wants.name));
  if (existing && differences(wants, existing.config).length === 0) return;
  const write = () => (existing ? streams.update(wants.name, wants) : streams.add(wants));
  const written = await write().catch((error: unknown) => {
    if (apiCode(error) === STREAM_EXISTS) return streams.info(wants.name);
    throw existing ? updateError(what, wants, existing.config, error) : apiError(what, error);
  });
  assertEchoed(what, wants, written.config);
}

/**
 * Likewise for a durable consumer.
 * @param atCreation what is set when it is made, and never afterwards
 */
export async function ensureConsumer(
  connection: Connection,
  stream: string,
  wants: Partial<ConsumerConfig> & { durable_name: string },
  atCreation: () => Promise<Partial<ConsumerConfig>> = async () => ({}),
): Promise<void> {
  const { consumers } = await connection.admin();
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

function differences(wants: object, got: object): string[] {
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
