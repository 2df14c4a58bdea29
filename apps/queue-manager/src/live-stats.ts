import type { LaneStats, QueueStats } from '@jetlane/client';
import {
  type Connection,
  type ConsumerState,
  consumerState,
  countMessages,
  isShared,
  type ListedLane,
  type ListedStream,
  lanesOf,
  listLaneStreams,
} from '@jetlane/jetstream';
import { LANES, type Lane } from '@jetlane/protocol';

/** Consumer infos that one poll may ask for: lanes with tasks first, then those that were not asked for longest. */
const CONSUMERS_PER_POLL = 200;
/** Streams of several lanes with tasks that one poll may look into, by eight requests each: those that were not looked into for longest. */
const SHARED_PER_POLL = 25;
/** How long a consumer may go unanswered, ms: the whole view waits for it. */
const ANSWER_MS = 2000;
/** Queues whose timers and dead letters one poll counts anew. */
const COUNTS_PER_POLL = 20;

const nameOf = ({ queue, lane }: Pick<ListedLane, 'queue' | 'lane'>): string => `${queue}.${lane}`;

interface Asked<T> {
  readonly at: number;
  readonly value: T;
}

/**
 * The live view of all queues, polled: one listing of streams (256 per request), and a bounded number of other requests,
 * however many queues there are. Beyond 200 lanes with tasks the numbers in hand are a few seconds old; depths never are. In topology `compact`
 * the depths of single lanes are as well, beyond 25 queues with tasks; that of a queue never is. A lane that does not answer keeps its last numbers.
 */
export class LiveStats {
  private lanes = new Map<string, ListedLane>();
  /** Tasks in each queue. */
  private depths = new Map<string, number>();
  /** When a stream of several lanes was looked into last. */
  private readonly looks = new Map<string, number>();
  private readonly consumers = new Map<string, Asked<ConsumerState | undefined>>();
  private readonly counts = new Map<string, Asked<{ scheduled: number; dead: number }>>();
  /** When the last poll ended well, ms since 1970; 0 before the first. */
  polledAt = 0;

  constructor(
    private readonly connection: Connection,
    private readonly queues: () => string[],
  ) {}

  async poll(): Promise<void> {
    await this.listLanes(await listLaneStreams(this.connection));
    await Promise.all([this.askConsumers(), this.countQueues()]);
    this.polledAt = Date.now();
  }

  /** All queues, or one. */
  read(queue?: string): QueueStats[] {
    return (queue === undefined ? this.queues() : [queue]).map((name) => this.queue(name));
  }

  private queue(queue: string): QueueStats {
    const lanes = Object.fromEntries(LANES.map((lane) => [lane, this.lane(queue, lane)])) as Record<Lane, LaneStats>;
    const states = LANES.map((lane) => this.consumers.get(nameOf({ queue, lane }))?.value);
    const active = LANES.reduce((total, lane) => total + lanes[lane].ackPending, 0);
    const { scheduled, dead } = this.counts.get(queue)?.value ?? { scheduled: 0, dead: 0 };
    return {
      queue,
      lanes,
      depth: this.depths.get(queue) ?? 0,
      active,
      scheduled,
      dead,
      paused: states.every((state) => state?.paused === true),
    };
  }

  private lane(queue: string, name: Lane): LaneStats {
    const lane = this.lanes.get(nameOf({ queue, lane: name }));
    if (!lane || lane.depth === 0) return { depth: 0, ackPending: 0, oldestAgeMs: null };
    // The two numbers come from two answers: more in hand than there is would be nonsense to the reader.
    const ackPending = Math.min(lane.depth, this.consumers.get(nameOf(lane))?.value?.ackPending ?? 0);
    return { depth: lane.depth, ackPending, oldestAgeMs: lane.oldestAt === undefined ? null : Math.max(0, Date.now() - lane.oldestAt) };
  }

  private async listLanes(streams: ListedStream[]): Promise<void> {
    const shared = streams.filter(isShared).sort((a, b) => (this.looks.get(a.stream) ?? 0) - (this.looks.get(b.stream) ?? 0));
    const turn = new Set(shared.slice(0, SHARED_PER_POLL));
    const found = await Promise.all(
      streams.map((stream) => (isShared(stream) && !turn.has(stream) ? this.lastKnown(stream) : lanesOf(this.connection, stream))),
    );
    for (const { stream } of turn) this.looks.set(stream, Date.now());
    this.lanes = new Map(found.flat().map((lane) => [nameOf(lane), lane]));
    this.depths = new Map();
    for (const { queue, depth } of streams) this.depths.set(queue, (this.depths.get(queue) ?? 0) + depth);
    const listed = new Set(streams.map(({ stream }) => stream));
    for (const stream of this.looks.keys()) if (!listed.has(stream)) this.looks.delete(stream);
  }

  /** Of a stream whose turn it is not: as it was at its last one, but never more than the stream holds now. */
  private lastKnown({ queue, lanes, depth }: ListedStream): ListedLane[] {
    return lanes.map((lane) => {
      const before = this.lanes.get(nameOf({ queue, lane }));
      const place = { queue, lane, ...this.connection.names.lane(queue, lane) };
      return { ...place, depth: Math.min(depth, before?.depth ?? 0), oldestAt: before?.oldestAt };
    });
  }

  private async askConsumers(): Promise<void> {
    const note = (lane: ListedLane, value: ConsumerState | undefined) => this.consumers.set(nameOf(lane), { at: Date.now(), value });
    const age = (lane: ListedLane) => this.consumers.get(nameOf(lane))?.at ?? 0;
    const unknown = [...this.lanes.values()].filter((lane) => !lane.silent && (!lane.state || void note(lane, lane.state)));
    const order = unknown.sort((a, b) => Number(b.depth > 0) - Number(a.depth > 0) || age(a) - age(b));
    await Promise.all(order.slice(0, CONSUMERS_PER_POLL).map(async (lane) => note(lane, await this.stateOf(lane))));
    for (const name of this.consumers.keys()) if (!this.lanes.has(name)) this.consumers.delete(name);
  }

  /** What was known before, where there is no answer now. */
  private stateOf(lane: ListedLane): Promise<ConsumerState | undefined> {
    return consumerState(this.connection, lane.stream, lane.consumer, ANSWER_MS).catch((error: unknown) => {
      if (this.connection.state !== 'connected') throw error;
      return this.consumers.get(nameOf(lane))?.value;
    });
  }

  private async countQueues(): Promise<void> {
    const { names } = this.connection;
    const order = this.queues().sort((a, b) => (this.counts.get(a)?.at ?? 0) - (this.counts.get(b)?.at ?? 0));
    await Promise.all(
      order.slice(0, COUNTS_PER_POLL).map(async (queue) => {
        const [scheduled, dead] = await Promise.all([
          countMessages(this.connection, names.schedules, names.timer(queue, '*')),
          countMessages(this.connection, names.deadLetters, names.dead(queue, '*')),
        ]);
        this.counts.set(queue, { at: Date.now(), value: { scheduled, dead } });
      }),
    );
  }
}
