import {
  encodeHeaders,
  HEADER,
  type HeaderPair,
  headerValue,
  JetlaneError,
  type Lane,
  type LaneStream,
  type QueueDefinition,
  stripServerHeaders,
  WrongSequenceError,
} from '@jetlane/protocol';
import type { ConsumerInfo, StreamInfo } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { apiCode, ensureConsumer } from './ensure.js';
import { inHand } from './lane-hold.js';
import { KNOWS_ALL } from './lane-list.js';
import { laneConsumer, laneStream } from './provisioning.js';
import type { StoredMessage } from './stored.js';
import { scanInBatches } from './stored-batch.js';

const STREAM_NOT_FOUND = 10059;
const POLL_MS = 50;
const DAY_MS = 86_400_000;
/** The task's message id, while it is in the side stream, which knows no duplicates. */
const KEPT_ID = 'Moved-Msg-Id';
/** In the side stream's metadata: until when somebody had paused the lanes, ISO 8601. */
const PAUSED_UNTIL = 'jetlane-paused-until';

/** Steps of a move, in their order: each is told of when it is done and confirmed by the server. */
export type MoveStep = 'side' | 'held' | 'sealed' | 'copied' | 'deleted' | 'made' | 'filled' | 'open';

/** How a lane is moved to another storage. */
export interface MoveOptions {
  /** How long workers may take to finish what they hold; then it is given up, and the lane goes on as it was. Default 10 s. */
  readonly drainMs?: number;
  /** Told after each step, for tests that end the process there. */
  readonly onStep?: (step: MoveStep) => void;
}

/** True when the stream of a lane has another storage than its queue's definition says, or a move was begun and not ended. */
export async function needsMove(connection: Connection, definition: QueueDefinition, lane: Lane): Promise<boolean> {
  const { stream, side } = connection.names.laneStream(definition.name, lane);
  if (await infoOf(connection, side)) return true;
  const lives = await infoOf(connection, stream);
  return lives !== undefined && lives.config.storage !== (definition.storage ?? 'file');
}

/**
 * Makes the stream of a lane anew with the storage that the definition says, with all its tasks in their order: they go into a side stream on
 * disk, the stream is deleted and made again, and they come back. Meanwhile its lanes hand out nothing, and who enqueues hears that nobody listens
 * and tries again. A copy that was refused and made later comes behind those that were sent beside it, 256 at most. Only one process at a time may do this for a queue.
 * Crash after any step: whoever does it next goes on from what stands. While the old stream is there it holds everything; when it is
 * deleted the side stream does, until the new one is open. Test: lane-move.spec "ended after".
 * @throws JetlaneError `queue-not-empty` when workers hold tasks for longer; `jetstream-api` when a copy is not complete
 */
export async function moveLane(connection: Connection, definition: QueueDefinition, lane: Lane, options: MoveOptions = {}): Promise<void> {
  await new LaneMove(connection, definition, lane, options).run();
}

class LaneMove {
  private readonly place: LaneStream;
  private readonly stream: string;
  private readonly side: string;
  private readonly step: (step: MoveStep) => void;

  constructor(
    private readonly connection: Connection,
    private readonly definition: QueueDefinition,
    lane: Lane,
    private readonly options: MoveOptions,
  ) {
    this.place = connection.names.laneStream(definition.name, lane);
    this.stream = this.place.stream;
    this.side = this.place.side;
    this.step = options.onStep ?? (() => undefined);
  }

  async run(): Promise<void> {
    const { streams } = await this.connection.admin();
    let lives = await infoOf(this.connection, this.stream);
    if (lives && isOld(lives, this.wanted.storage)) {
      await this.empty(lives);
      lives = undefined;
    } else if (lives?.config.subject_transform) {
      // Somebody was about to fill it: all of it is in the side stream.
      await streams.delete(this.stream);
      lives = undefined;
    }
    if (!lives) await this.fill();
    else await this.letGo();
    await streams.delete(this.side);
  }

  private get wanted() {
    return laneStream(this.connection, this.definition, this.place);
  }

  /** Everything goes into the side stream, and the lane's stream goes. */
  private async empty(lives: StreamInfo): Promise<void> {
    const { streams } = await this.connection.admin();
    await this.makeSide(lives);
    this.step('side');
    await this.hold();
    this.step('held');
    await streams.update(this.stream, { subjects: this.sealed });
    this.step('sealed');
    await scanInBatches(this.connection, this.stream, '>', (message) => this.toSide(message));
    await this.assertSame(this.stream, this.side);
    this.step('copied');
    // A process that stood still for long must not delete what another has made meanwhile.
    const now = await infoOf(this.connection, this.stream);
    if (String(now?.created) !== String(lives.created)) throw this.incomplete('the lane was made anew by another process');
    await streams.delete(this.stream);
    this.step('deleted');
  }

  /** The new stream gets everything under subjects of its own, which it stores as the tasks' subjects; then it is opened. */
  private async fill(): Promise<void> {
    const { streams } = await this.connection.admin();
    const side = await streams.info(this.side);
    // As many replicas as it had, if the definition does not say: the mover may be a process that knows no better.
    const { wanted: plain } = this;
    const wanted = { ...plain, num_replicas: this.definition.replicas ?? Math.max(side.config.num_replicas, plain.num_replicas ?? 1) };
    const unlimited = { max_msgs: -1, max_bytes: -1, max_msg_size: -1 };
    await streams.add({ ...wanted, ...unlimited, subjects: this.sealed, subject_transform: this.opening });
    this.step('made');
    await scanInBatches(this.connection, this.side, '>', (message) => this.toLane(message));
    await this.assertSame(this.side, this.stream);
    // Nobody holds anything, if the consumer before it knew of everybody: the move began when they had finished.
    const metadata = side.config.metadata?.[KNOWS_ALL] === undefined ? {} : { metadata: { [KNOWS_ALL]: 'true' } };
    for (const lane of this.place.lanes)
      await ensureConsumer(this.connection, this.stream, laneConsumer(this.connection, this.definition, lane), async () => metadata);
    await this.pauseAsBefore();
    this.step('filled');
    await streams.update(this.stream, { ...wanted, subject_transform: undefined } as unknown as Partial<StreamInfo['config']>);
    this.step('open');
  }

  private async makeSide({ config: { num_replicas }, state }: StreamInfo): Promise<void> {
    if (await infoOf(this.connection, this.side)) return;
    const { streams } = await this.connection.admin();
    const untils = (await this.readers()).flatMap(({ config, paused }) =>
      paused && config.pause_until ? [String(config.pause_until)] : [],
    );
    const [until] = untils.sort((a, b) => Date.parse(b) - Date.parse(a));
    const { lanes } = this.place;
    const held = await Promise.all(lanes.map((lane) => inHand(this.connection, this.definition.name, lane)));
    const knows = state.messages === 0 || held.every(({ storedBefore }) => Date.parse(state.first_ts) >= storedBefore);
    await streams.add({
      name: this.side,
      subjects: lanes.map((lane) => this.connection.names.moving(this.definition.name, lane, '*', '*')),
      num_replicas,
      storage: 'file',
      allow_direct: true,
      metadata: { ...(until === undefined ? {} : { [PAUSED_UNTIL]: until }), ...(knows ? { [KNOWS_ALL]: 'true' } : {}) },
    });
  }

  /** Nothing is handed out from now on, and nobody holds anything. */
  private async hold(): Promise<void> {
    const { streams } = await this.connection.admin();
    await this.pauseUntil(new Date(Date.now() + DAY_MS));
    const until = performance.now() + (this.options.drainMs ?? 10_000);
    for (;;) {
      const held = (await this.readers()).reduce((sum, { num_ack_pending }) => sum + num_ack_pending, 0);
      if (held === 0) return;
      if (performance.now() > until) {
        await this.letGo();
        await streams.delete(this.side);
        throw new JetlaneError(
          'queue-not-empty',
          `workers hold ${held} tasks of ${this.stream}; its storage is changed when they have finished`,
          {
            details: { queue: this.definition.name, held },
          },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** The lanes go on as they were before anybody began to move them. */
  private async letGo(): Promise<void> {
    const { consumers } = await this.connection.admin();
    for (const name of this.consumers) await consumers.resume(this.stream, name);
    await this.pauseAsBefore();
  }

  private async pauseAsBefore(): Promise<void> {
    const until = (await infoOf(this.connection, this.side))?.config.metadata?.[PAUSED_UNTIL];
    if (until !== undefined) await this.pauseUntil(new Date(until));
  }

  private async pauseUntil(date: Date): Promise<void> {
    const { consumers } = await this.connection.admin();
    for (const name of this.consumers) await consumers.pause(this.stream, name, date);
  }

  private get consumers(): string[] {
    return this.place.lanes.map((lane) => this.connection.names.lane(this.definition.name, lane).consumer);
  }

  private async readers(): Promise<ConsumerInfo[]> {
    const { consumers } = await this.connection.admin();
    return Promise.all(this.consumers.map((name) => consumers.info(this.stream, name)));
  }

  /** Each has a subject of its own there: one that an earlier try has copied is not copied again. */
  private async toSide({ subject, sequence, headers, data }: StoredMessage): Promise<void> {
    const { lane, key } = placeIn(subject);
    const id = headerValue(headers, HEADER.msgId);
    const kept: HeaderPair[] = [...stripServerHeaders(headers), [HEADER.expectedSubjectSequence, '0']];
    if (id !== undefined) kept.push([KEPT_ID, id]);
    const target = this.connection.names.moving(this.definition.name, lane, sequence, key);
    await this.connection.publish(target, data, encodeHeaders(kept)).catch((error: unknown) => {
      if (!(error instanceof WrongSequenceError)) throw error;
    });
  }

  /** With its message id, so that a producer who repeats it is still told that it is a duplicate. */
  private async toLane({ subject, headers, data }: StoredMessage): Promise<void> {
    const [, lane, , key] = this.connection.names.tokens(subject);
    const target = this.connection.names.sealedLane(this.definition.name, lane as Lane).replace(/\*$/, key!);
    const id = headerValue(headers, KEPT_ID);
    const kept = headers.filter(([name]) => name !== KEPT_ID && !name.startsWith('Nats-'));
    const ack = await this.connection.publish(target, data, encodeHeaders(id === undefined ? kept : [[HEADER.msgId, id], ...kept]));
    // Two tasks of a stranger under one id, stored at different times: both are kept.
    if (ack.duplicate) await this.connection.publish(target, data, encodeHeaders(kept));
  }

  private async assertSame(from: string, to: string): Promise<void> {
    const [had, has] = await Promise.all([from, to].map(async (stream) => (await infoOf(this.connection, stream))?.state.messages ?? 0));
    if (had !== has) throw this.incomplete(`${to} holds ${has} of the ${had} tasks of ${from}`);
  }

  private get sealed(): string[] {
    return this.place.lanes.map((lane) => this.connection.names.sealedLane(this.definition.name, lane));
  }

  /** What comes to the sealed subjects is stored under those of the tasks. */
  private get opening() {
    const { names } = this.connection;
    const { lanes } = this.place;
    const { name } = this.definition;
    if (lanes.length === 1)
      return { src: names.sealedLane(name, lanes[0]!), dest: names.laneSubjects(name, lanes[0]!).replace(/\*$/, '{{wildcard(1)}}') };
    return { src: names.sealedLane(name, '*'), dest: names.pattern(`tasks.${name}.{{wildcard(1)}}.{{wildcard(2)}}`) };
  }

  private incomplete(why: string): JetlaneError {
    return new JetlaneError('jetstream-api', `moving ${this.stream} is not complete: ${why}; it goes on by itself`, { retryable: true });
  }
}

/** Lane and key, of a task's subject or of a sealed one. */
function placeIn(subject: string): { readonly lane: Lane; readonly key: string } {
  const [lane, key] = subject.split('.').slice(-2);
  return { lane: lane as Lane, key: key! };
}

const isOld = ({ config }: StreamInfo, storage: unknown): boolean => config.storage !== storage && !config.subject_transform;

async function infoOf(connection: Connection, stream: string): Promise<StreamInfo | undefined> {
  const { streams } = await connection.admin();
  try {
    return await streams.info(stream);
  } catch (error) {
    if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}
