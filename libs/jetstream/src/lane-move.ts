import {
  encodeHeaders,
  HEADER,
  headerValue,
  JetlaneError,
  type Lane,
  type LaneStream,
  type QueueDefinition,
  QueueFullError,
  stripServerHeaders,
} from '@jetlane/protocol';
import type { ConsumerInfo, StreamInfo } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { apiCode, ensureConsumer } from './ensure.js';
import { inHand } from './lane-hold.js';
import { KNOWS_ALL, pausedUntil } from './lane-list.js';
import { laneConsumer, laneStream } from './provisioning.js';
import { MOVING_MS, pauseDate, releaseMoved } from './queue-pause.js';
import { leaderGet, type StoredMessage } from './stored.js';
import { scanInBatches } from './stored-batch.js';

const STREAM_NOT_FOUND = 10059;
const POLL_MS = 50;
/**
 * The task's message id, while it is in the side stream, which knows no duplicates. As long as `Nats-Msg-Id`: a task whose headers fill all that
 * the server takes must not grow. Test: lane-move-refused.spec "as large as".
 */
const KEPT_ID = 'Moved-MsgId';
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
 * and tries again. Only one process at a time may do this for a queue.
 * What fails before the old stream is deleted is undone: the lanes go on as they were.
 * Crash after any step: whoever does it next goes on from what stands. While the old stream is there it holds everything; when it is
 * deleted the side stream does, until the new one is open. Neither hands out anything before that. Test: lane-move.spec "ended after".
 * @throws JetlaneError `queue-not-empty` when workers hold tasks for longer; `jetstream-api` when a copy is not complete; `payload-too-large` or
 * `publish-refused`, with the task's subject, for one that cannot be copied
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
    await this.end();
  }

  private get wanted() {
    return laneStream(this.connection, this.definition, this.place);
  }

  /** Everything goes into the side stream, and the lane's stream goes. */
  private async empty(lives: StreamInfo): Promise<void> {
    const { streams } = await this.connection.admin();
    try {
      await this.copy(lives);
    } catch (error) {
      // Else what one task or one worker is in the way of would stop all of its queue. Without a link the next mover sees to it.
      if (error instanceof JetlaneError) await this.undo(lives).catch(() => undefined);
      throw error;
    }
    await streams.delete(this.stream);
    this.step('deleted');
  }

  private async copy(lives: StreamInfo): Promise<void> {
    const { streams } = await this.connection.admin();
    await this.makeSide(lives);
    this.step('side');
    await this.hold();
    await this.noteWhatIsKnown();
    this.step('held');
    await streams.update(this.stream, { subjects: this.sealed });
    this.step('sealed');
    await scanInBatches(this.connection, this.stream, '>', (message) => this.toSide(message));
    await this.assertSame(this.stream, this.side);
    this.step('copied');
    // A process that stood still for long must not delete what another has made meanwhile, or what somebody let go.
    if (!(await this.stands(lives))) throw this.incomplete('the lane was made anew by another process');
    if (!(await this.readers()).every(isHeld)) throw this.incomplete('somebody has resumed the lane');
  }

  /** Crash between: the side stream stands, so the next mover begins again. Of the copies it finds, those of settled tasks are too many. */
  private async undo(lives: StreamInfo): Promise<void> {
    if (!(await this.stands(lives))) return;
    const { streams } = await this.connection.admin();
    await streams.update(this.stream, { subjects: this.wanted.subjects! });
    await this.end();
  }

  private async stands(lives: StreamInfo): Promise<boolean> {
    return String((await infoOf(this.connection, this.stream))?.created) === String(lives.created);
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
    // Held from their first moment: if we die before it is open, the next one throws this stream away and fills it again, so nothing of it may
    // have been handed out. Hence they know of everybody, if the consumers before them did; else they are younger than all tasks.
    const knows = side.config.metadata?.[KNOWS_ALL] === undefined ? {} : { metadata: { [KNOWS_ALL]: 'true' } };
    const held = { ...knows, pause_until: pauseDate(MOVING_MS) };
    for (const lane of this.place.lanes)
      await ensureConsumer(this.connection, this.stream, laneConsumer(this.connection, this.definition, lane), async () => held);
    this.step('filled');
    await streams.update(this.stream, { ...wanted, subject_transform: undefined } as unknown as Partial<StreamInfo['config']>);
    this.step('open');
  }

  private async makeSide({ config: { num_replicas } }: StreamInfo): Promise<void> {
    if (await infoOf(this.connection, this.side)) return;
    const { streams } = await this.connection.admin();
    const untils = (await this.readers()).map((reader) => pausedUntil(reader) ?? 0).filter((until) => until !== MOVING_MS);
    const until = Math.max(0, ...untils);
    await streams.add({
      name: this.side,
      subjects: this.place.lanes.map((lane) => this.connection.names.moving(this.definition.name, lane, '*', '*')),
      num_replicas,
      storage: 'file',
      allow_direct: true,
      // Of each task the first copy stands, without a header that says so.
      max_msgs_per_subject: 1,
      discard: 'new',
      discard_new_per_subject: true,
      metadata: until === 0 ? {} : { [PAUSED_UNTIL]: new Date(until).toISOString() },
    });
  }

  /** Anew by every mover, and only when the consumers stand still: one may have been deleted and made again since another began. */
  private async noteWhatIsKnown(): Promise<void> {
    const { streams } = await this.connection.admin();
    const { state } = await streams.info(this.stream);
    const { config } = await streams.info(this.side);
    const held = await Promise.all(this.place.lanes.map((lane) => inHand(this.connection, this.definition.name, lane)));
    const knows = state.messages === 0 || held.every(({ storedBefore }) => Date.parse(state.first_ts) >= storedBefore);
    const { [KNOWS_ALL]: _, ...others } = config.metadata ?? {};
    await streams.update(this.side, { metadata: { ...others, ...(knows ? { [KNOWS_ALL]: 'true' } : {}) } });
  }

  /** Nothing is handed out from now on, and nobody holds anything. */
  private async hold(): Promise<void> {
    const until = performance.now() + (this.options.drainMs ?? 10_000);
    for (;;) {
      await this.holdReaders();
      const readers = await this.readers();
      const held = readers.reduce((sum, { num_ack_pending }) => sum + num_ack_pending, 0);
      // In a cluster a pause is confirmed before the consumer's leader knows of it.
      if (held === 0 && readers.every(isHeld)) return;
      if (performance.now() > until) {
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

  private async holdReaders(): Promise<void> {
    const { consumers } = await this.connection.admin();
    for (const reader of await this.readers()) if (!isHeld(reader)) await consumers.pause(this.stream, reader.name, new Date(MOVING_MS));
  }

  /** The lanes hand out again, or are paused as they were, and the side stream goes. Crash between: the next mover ends it. */
  private async end(): Promise<void> {
    const { streams } = await this.connection.admin();
    const side = await infoOf(this.connection, this.side);
    const until = side?.config.metadata?.[PAUSED_UNTIL];
    const before = { at: side ? Date.parse(String(side.created)) : 0, until: until === undefined ? undefined : Date.parse(until) };
    await releaseMoved(this.connection, this.definition.name, this.place.lanes, before);
    if (side) await streams.delete(this.side);
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
    const kept = stripServerHeaders(headers);
    const target = this.connection.names.moving(this.definition.name, lane, sequence, key);
    try {
      await this.connection.publish(target, data, encodeHeaders(id === undefined ? kept : [[KEPT_ID, id], ...kept]));
    } catch (error) {
      if (error instanceof QueueFullError && (await leaderGet(this.connection, this.side, target))) return;
      throw this.inTheWay(error, subject);
    }
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

  /** What is refused for good is told of the task, and what to do about it. */
  private inTheWay(error: unknown, subject: string): unknown {
    if (!(error instanceof JetlaneError) || error.retryable) return error;
    return new JetlaneError(
      error.code,
      `moving ${this.stream} to another storage is undone: the task at ${subject} cannot be copied (${error.message}); let it run or cancel it, or leave the queue's storage as it is`,
      { cause: error, details: { ...error.details, queue: this.definition.name, subject } },
    );
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

const isHeld = (reader: ConsumerInfo): boolean => pausedUntil(reader) === MOVING_MS;

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
