import { JetlaneError } from './errors.js';
import { isLane, LANES, type Lane } from './lanes.js';

const NAMESPACE = /^[a-z0-9][a-z0-9-]{0,31}$/;
/** First tokens of our own subjects: as a namespace they would mix with an installation that has none (`tasks_q` there is `q` here). */
const RESERVED: ReadonlySet<string> = new Set([
  'tasks',
  'schedules',
  'due',
  'states',
  'dead',
  'metrics',
  'heartbeats',
  'cancels',
  'idle',
  'svc',
  'events',
  'redriven-events',
  'dead-events',
  'sealed',
  'moving',
  'rpc',
]);

/**
 * How an installation lays out its queues. `lanes`: a stream for each lane, the fastest, and a full lane is in no other's way. `compact`: one
 * stream for each queue with a filtered consumer for each lane, a quarter of the streams and less to replicate. Subjects are the same.
 */
export const TOPOLOGIES = ['lanes', 'compact'] as const;

/** One of {@link TOPOLOGIES}. */
export type Topology = (typeof TOPOLOGIES)[number];

/** Where a lane lives: its stream and the durable consumer that workers pull from. */
export interface LaneLocation {
  readonly stream: string;
  readonly consumer: string;
}

/** A stream of tasks, with all the lanes that live in it. */
export interface LaneStream {
  readonly queue: string;
  readonly stream: string;
  /** Stream that holds its tasks while it is made anew; there only as long as that takes. */
  readonly side: string;
  /** Highest first. */
  readonly lanes: readonly Lane[];
}

/**
 * All names on the wire of one installation. The optional namespace keeps several installations, and every test file,
 * apart on one NATS account: `<ns>_` before streams and consumers, `<ns>.` before subjects.
 */
export class Names {
  readonly namespace: string;
  readonly schedules: string;
  readonly schedulerConsumer: string;
  readonly taskStates: string;
  readonly deadLetters: string;
  readonly advisories: string;
  readonly resiliencyConsumer: string;
  readonly metrics: string;
  /** Stream of events that services emit, and of those that are sent again to one reader. */
  readonly events: string;
  /** Stream of events that a reader gave up. */
  readonly deadEvents: string;
  private readonly dot: string;
  private readonly bar: string;

  /**
   * @param topology of the installation, not of a queue: so everybody knows without asking where a lane lives
   * @throws JetlaneError `invalid-argument` for an illegal namespace or topology
   */
  constructor(
    namespace = '',
    readonly topology: Topology = 'lanes',
  ) {
    if (!TOPOLOGIES.includes(topology))
      throw new JetlaneError('invalid-argument', `expected topology to be ${TOPOLOGIES.join(' or ')}, got ${JSON.stringify(topology)}`, {
        details: { field: 'topology' },
      });
    if (namespace && !NAMESPACE.test(namespace)) {
      throw new JetlaneError('invalid-argument', `expected namespace to match ${NAMESPACE.source}, got ${JSON.stringify(namespace)}`, {
        details: { field: 'namespace' },
      });
    }
    if (RESERVED.has(namespace)) {
      throw new JetlaneError('invalid-argument', `namespace "${namespace}" is a word of Jetlane's own subjects; choose another`, {
        details: { field: 'namespace' },
      });
    }
    this.namespace = namespace;
    this.dot = namespace ? `${namespace}.` : '';
    this.bar = namespace ? `${namespace}_` : '';
    this.schedules = `${this.bar}schedules`;
    this.schedulerConsumer = `${this.bar}scheduler`;
    this.taskStates = `${this.bar}task_states`;
    this.deadLetters = `${this.bar}dead_letters`;
    this.advisories = `${this.bar}advisories`;
    this.resiliencyConsumer = `${this.bar}resiliency`;
    this.metrics = `${this.bar}metrics`;
    this.events = `${this.bar}events`;
    this.deadEvents = `${this.bar}dead_events`;
  }

  /** Where a lane lives. Nothing beside this class knows the topology; shards would come the same way. */
  lane(queue: string, lane: Lane): LaneLocation {
    if (this.topology === 'compact') return { stream: `${this.bar}tasks_${queue}`, consumer: this.workers(lane) };
    return { stream: `${this.bar}tasks_${queue}_${lane}`, consumer: this.workers() };
  }

  /** The stream that a lane lives in, with all the lanes that it holds. */
  laneStream(queue: string, lane: Lane): LaneStream {
    const { stream } = this.lane(queue, lane);
    if (this.topology === 'compact') return { queue, stream, side: `${this.bar}moving_${queue}`, lanes: LANES };
    return { queue, stream, side: `${this.bar}moving_${queue}_${lane}`, lanes: [lane] };
  }

  /** The streams of a queue's lanes. */
  laneStreams(queue: string): LaneStream[] {
    const lanes = this.topology === 'compact' ? LANES.slice(0, 1) : LANES;
    return lanes.map((lane) => this.laneStream(queue, lane));
  }

  /** What lives in a stream of this name, or `undefined` for any other stream than one of tasks. */
  parseLaneStream(stream: string): LaneStream | undefined {
    const prefix = `${this.bar}tasks_`;
    if (!stream.startsWith(prefix)) return undefined;
    const rest = stream.slice(prefix.length);
    if (this.topology === 'compact') return this.laneStream(rest, LANES[0]);
    const cut = rest.lastIndexOf('_');
    const lane = rest.slice(cut + 1);
    return cut > 0 && isLane(lane) ? this.laneStream(rest.slice(0, cut), lane) : undefined;
  }

  /** Name of a KV bucket. */
  bucket(
    name: 'queues' | 'queue_sources' | 'queue_locks' | 'schedule_specs' | 'limits' | 'alerts' | 'audit' | 'jobs' | 'queue_jobs' | 'pauses',
  ): string {
    return `${this.bar}${name}`;
  }

  /** Subject of a task in its lane. */
  task(queue: string, lane: Lane, key: string): string {
    return `${this.dot}tasks.${queue}.${lane}.${key}`;
  }

  /** All subjects of a lane. */
  laneSubjects(queue: string, lane: Lane): string {
    return `${this.dot}tasks.${queue}.${lane}.*`;
  }

  /** Where a lane listens that takes no tasks any more, since its queue is being deleted or moved. Nobody publishes there. */
  sealedLane(queue: string, lane: Lane | '*'): string {
    return `${this.dot}sealed.${queue}.${lane}.*`;
  }

  /** Subject of a task in the stream that holds it while its own is made anew: its sequence there, and its key. */
  moving(queue: string, lane: Lane | '*', sequence: number | '*', key: string): string {
    return `${this.dot}moving.${queue}.${lane}.${sequence}.${key}`;
  }

  /** Subject of a task's timer: a delay, or a retry. */
  timer(queue: string, key: string): string {
    return `${this.dot}schedules.${queue}.${key}`;
  }

  /** Subject that the server publishes a timer's task to when its time has come. */
  due(queue: string, lane: Lane, key: string): string {
    return `${this.dot}due.${queue}.${lane}.${key}`;
  }

  /** Subject of a task's state record. */
  state(queue: string, key: string): string {
    return `${this.dot}states.${queue}.${key}`;
  }

  /** Subject of a task's dead letter. */
  dead(queue: string, key: string): string {
    return `${this.dot}dead.${queue}.${key}`;
  }

  /** Subject for a pattern such as `states.>`, in this namespace. */
  pattern(pattern: string): string {
    return this.dot + pattern;
  }

  /** A worker's heartbeat (core NATS, once a second). */
  heartbeat(queue: string, worker: string): string {
    return `${this.dot}heartbeats.${queue}.${worker}`;
  }

  /** Asks every worker for a heartbeat now. */
  heartbeatPing(): string {
    return `${this.dot}heartbeats.ping`;
  }

  /** Tells the workers of a queue that one of them has nothing to do (core NATS). */
  idle(queue: string): string {
    return `${this.dot}idle.${queue}`;
  }

  /** Tells the workers of a queue what is no longer wanted (core NATS). */
  cancels(queue: string): string {
    return `${this.dot}cancels.${queue}`;
  }

  /** A worker's last metrics snapshot. */
  metric(queue: string, worker: string): string {
    return `${this.dot}metrics.${queue}.${worker}`;
  }

  /** A command of one of the platform's services (request/reply). */
  service(service: string, command: string): string {
    return `${this.dot}svc.${service}.${command}`;
  }

  /** An event, or with wildcards a pattern of events. */
  event(pattern: string): string {
    return `${this.dot}events.${pattern}`;
  }

  /** An event that is sent again to one durable reader. */
  redrivenEvent(reader: string, event: string): string {
    return `${this.dot}redriven-events.${reader}.${event}`;
  }

  /** An event that a reader gave up, by its sequence in the stream of events. */
  deadEvent(reader: string, sequence: number | '*'): string {
    return `${this.dot}dead-events.${reader}.${sequence}`;
  }

  /** A request of the transport for NestJS (request/reply). */
  rpc(pattern: string): string {
    return `${this.dot}rpc.${pattern}`;
  }

  /** The parts behind the first token of a subject of this namespace: `tasks.q.high.k` gives `['q', 'high', 'k']`. */
  tokens(subject: string): string[] {
    return subject.slice(this.dot.length).split('.').slice(1);
  }

  /** Subjects of the server's max-deliveries advisories for this installation's lane consumers. */
  maxDeliveries(): string[] {
    const consumers = this.topology === 'compact' ? LANES.map((lane) => this.workers(lane)) : [this.workers()];
    return consumers.map((consumer) => `$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.${consumer}`);
  }

  /** A namespace has no `_`, so no other installation has a consumer of this name. */
  private workers(lane?: Lane): string {
    return lane === undefined ? `${this.bar}workers` : `${this.bar}workers_${lane}`;
  }
}
