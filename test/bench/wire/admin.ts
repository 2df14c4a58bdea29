import { LANE, QUEUE, type StoredShape } from '../harness/contract.js';
import type { WireLink } from './link.js';

const NANOS_PER_SECOND = 1_000_000_000;
const encoder = new TextEncoder();

/** Names of the streams and prefixes of the subjects of one namespace (DESIGN: `<ns_>tasks_<queue>_<lane>`, `<ns.>tasks…`). */
export function names(namespace: string, lane: string = LANE) {
  return {
    laneStream: `${namespace}_tasks_${QUEUE}_${lane}`,
    stateStream: `${namespace}_task_states`,
    consumer: `${namespace}_workers`,
    taskPrefix: `${namespace}.tasks.${QUEUE}.${lane}.`,
    statePrefix: `${namespace}.states.${QUEUE}.`,
  };
}

/** One call of the JetStream API. @throws Error with the server's words */
export async function api<T>(link: WireLink, call: string, request?: unknown): Promise<T> {
  const body = request === undefined ? new Uint8Array(0) : encoder.encode(JSON.stringify(request));
  const reply = await link.ask(`$JS.API.${call}`, body);
  if (reply.headers?.code === 503) throw new Error(`${call}: no JetStream answers`);
  const answer = reply.json<T & { error?: { description: string; err_code: number } }>();
  if (answer.error !== undefined) throw new Error(`${call}: ${answer.error.description} (${answer.error.err_code})`);
  return answer;
}

/** Creates what one lane needs, configured as the product's: its work queue, its consumer and the stream of the records. */
export async function provision(link: WireLink, namespace: string): Promise<void> {
  const { stateStream } = names(namespace);
  await provisionLane(link, namespace);
  await api(link, `STREAM.CREATE.${stateStream}`, {
    name: stateStream,
    subjects: [`${namespace}.states.>`],
    storage: 'file',
    retention: 'limits',
    discard: 'old',
    max_msgs: 5_000_000,
    max_bytes: 4 * 1024 ** 3,
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    allow_direct: true,
    duplicate_window: NANOS_PER_SECOND,
  });
}

/** Creates a work queue with its consumer. */
export async function provisionLane(link: WireLink, namespace: string, lane?: string): Promise<void> {
  const { laneStream, consumer, taskPrefix } = names(namespace, lane);
  await api(link, `STREAM.CREATE.${laneStream}`, {
    name: laneStream,
    subjects: [`${taskPrefix}*`],
    storage: 'file',
    retention: 'workqueue',
    discard: 'new',
    max_msgs: 10_000_000,
    allow_direct: true,
    duplicate_window: 30 * NANOS_PER_SECOND,
  });
  await api(link, `CONSUMER.CREATE.${laneStream}.${consumer}`, {
    stream_name: laneStream,
    config: laneConsumer(consumer),
    action: 'create',
  });
}

function laneConsumer(name: string) {
  return {
    name,
    durable_name: name,
    ack_policy: 'explicit',
    deliver_policy: 'all',
    replay_policy: 'instant',
    ack_wait: 30 * NANOS_PER_SECOND,
    backoff: [30, 30, 30, 60, 120].map((seconds) => seconds * NANOS_PER_SECOND),
    max_deliver: 10,
    max_ack_pending: 5000,
    max_waiting: 4096,
  };
}

/** Deletes every stream whose name carries the namespace, whichever side made it. */
export async function deleteNamespace(link: WireLink, namespace: string): Promise<void> {
  for (let found = await streamNames(link, namespace); found.length > 0; found = await streamNames(link, namespace)) {
    for (const stream of found) await api(link, `STREAM.DELETE.${stream}`);
  }
}

async function streamNames(link: WireLink, namespace: string): Promise<string[]> {
  const { streams } = await api<{ streams: string[] | null }>(link, 'STREAM.NAMES');
  return (streams ?? []).filter((name) => name.includes(namespace));
}

/** How many messages a stream holds now. */
export async function countMessages(link: WireLink, stream: string): Promise<number> {
  return (await api<{ state: { messages: number } }>(link, `STREAM.INFO.${stream}`)).state.messages;
}

/**
 * Waits until a stream is empty and returns when that was, on the clock of `performance.now()`. It asks more often towards the end, so
 * that the answer is right to some 5 ms while the questions cost nothing. @throws Error after `patienceMs` without progress
 */
export async function untilEmpty(link: WireLink, stream: string, patienceMs = 20_000): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (let progressAt = performance.now(); ; ) {
    const left = await countMessages(link, stream);
    const now = performance.now();
    if (left === 0) return now;
    if (left < lowest) [lowest, progressAt] = [left, now];
    if (now - progressAt > patienceMs) throw new Error(`${stream} still holds ${left} messages and nothing moves`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(200, Math.max(5, left / 300))));
  }
}

/** The shape of the newest message of a stream; undefined when it has none. */
export async function newestShape(link: WireLink, stream: string, namespace: string): Promise<StoredShape | undefined> {
  const { state } = await api<{ state: { messages: number; last_seq: number } }>(link, `STREAM.INFO.${stream}`);
  if (state.messages === 0) return undefined;
  const { message } = await api<{ message: { subject: string; hdrs?: string; data?: string } }>(link, `STREAM.MSG.GET.${stream}`, {
    seq: state.last_seq,
  });
  const headers = Buffer.from(message.hdrs ?? '', 'base64').toString('latin1');
  return {
    subject: message.subject.replace(`${namespace}.`, '').replace(/[^.]+$/, '*'),
    headers: [...headers.matchAll(/\r\n([^:\r\n]+):/g)].map((match) => match[1]!),
    headerBytes: headers.length,
    bodyBytes: Buffer.from(message.data ?? '', 'base64').length,
  };
}
