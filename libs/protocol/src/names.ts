import { JetlaneError } from './errors.js';
import type { Lane } from './lanes.js';

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

/** Where a lane lives: its stream and the durable consumer that workers pull from. */
export interface LaneLocation {
  readonly stream: string;
  readonly consumer: string;
}

/**
 * All names on the wire of one installation. The optional namespace keeps several installations, and every test file,
 * apart on one NATS account: `<ns>_` before streams and consumers, `<ns>.` before subjects.
 */
export class Names {
  readonly namespace: string;
  readonly consumer: string;
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

  /** @throws JetlaneError `invalid-argument` for an illegal namespace */
  constructor(namespace = '') {
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
    this.consumer = `${this.bar}workers`;
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

  /** Where a lane lives. The only place that knows: another topology or shards change this function alone. */
  lane(queue: string, lane: Lane): LaneLocation {
    return { stream: `${this.bar}tasks_${queue}_${lane}`, consumer: this.consumer };
  }

  /** Queue and lane of a lane's stream, or `undefined` for any other stream. */
  parseLaneStream(stream: string): { queue: string; lane: string } | undefined {
    const prefix = `${this.bar}tasks_`;
    const cut = stream.lastIndexOf('_');
    if (!stream.startsWith(prefix) || cut < prefix.length) return undefined;
    return { queue: stream.slice(prefix.length, cut), lane: stream.slice(cut + 1) };
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
  sealedLane(queue: string, lane: Lane): string {
    return `${this.dot}sealed.${queue}.${lane}.*`;
  }

  /** Stream that holds a lane's tasks while the lane is made anew; there only as long as that takes. */
  movingStream(queue: string, lane: Lane): string {
    return `${this.bar}moving_${queue}_${lane}`;
  }

  /** Subject of one of them: its sequence in the lane, and its key. */
  moving(queue: string, lane: Lane, sequence: number | '*', key: string): string {
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

  /** Subject of the server's max-deliveries advisories for this installation's lane consumers. */
  maxDeliveries(): string {
    return `$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.${this.consumer}`;
  }
}
