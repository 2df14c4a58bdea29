import {
  type Connection,
  consumerState,
  laneDrift,
  provisionBase,
  provisionLane,
  provisionQueue,
  queuesInMotion,
} from '@jetlane/jetstream';
import { DEFAULT_LANE, JetlaneError, LANE_DEFAULTS, parseQueueDefinition, type QueueDefinition, toMs } from '@jetlane/protocol';
import { moveStorage } from './definitions/storage-move.js';

export interface ProvisionerLog {
  info(facts: object, event: string): void;
  error(facts: object, event: string): void;
}

/** Queues provisioned at a time: each is up to sixteen API requests. */
const AT_ONCE = 4;
/** Consumers whose configuration one look for drift reads; the rest are looked at in later rounds. */
const CONSUMERS_PER_ROUND = 200;
/** A shorter lease reaches the consumer this long after the definition, when workers renew by it, in ms. */
const LEASE_PAUSE_MS = 2000;
/** What was refused for good is tried again all the same, after a pause that doubles: a move of storage holds its lanes each time. */
const FIRST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_MS = 120_000;

/** Why a queue could not be provisioned. */
interface Failure {
  readonly message: string;
  readonly tries: number;
  /** Not tried again before, by `performance.now()`. */
  readonly until: number;
}

/**
 * Makes streams and consumers be what the definitions say. Everything it does is idempotent, so any number of
 * provisioners may work at once. A queue whose provisioning failed is tried again by the next {@link reconcile}; where nothing
 * speaks for another outcome, after a pause.
 */
export class Provisioner {
  private readonly definitions = new Map<string, QueueDefinition>();
  private readonly failures = new Map<string, Failure>();
  private waiting = new Set<string>();
  private readonly working = new Set<Promise<void>>();
  private round = 0;

  constructor(
    private readonly connection: Connection,
    private readonly log: ProvisionerLog,
  ) {}

  /** All definitions, by name. */
  all(): QueueDefinition[] {
    return [...this.definitions.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Queues that could not be provisioned, with the reason. */
  failed(): Record<string, string> {
    return Object.fromEntries([...this.failures].map(([queue, { message }]) => [queue, message]));
  }

  /** A definition is new or changed; provisioned in the background. A definition that does not fit the schema is told and passed over. */
  define(name: string, input: unknown): void {
    try {
      const definition = parseQueueDefinition(input);
      if (definition.name !== name) throw new Error(`the definition under the key "${name}" names the queue "${definition.name}"`);
      this.definitions.set(name, definition);
      this.failures.delete(name);
    } catch (error) {
      return this.fail(name, error);
    }
    this.waiting.add(name);
    this.work();
  }

  /** A definition is gone. Its streams stay: tasks in them are not thrown away by the stroke of a key. */
  forget(name: string): void {
    this.definitions.delete(name);
    this.failures.delete(name);
    this.waiting.delete(name);
  }

  /** Resolves when nothing waits to be provisioned. */
  async idle(): Promise<void> {
    while (this.working.size > 0) await Promise.all(this.working);
  }

  /**
   * Makes a queue be what a definition says, now.
   * @throws JetlaneError `stream-mismatch`, `jetstream-api`; `queue-not-empty` when its storage is to be changed and workers hold tasks for long
   */
  async apply(definition: QueueDefinition): Promise<void> {
    if (await this.shortensLease(definition)) await new Promise((resolve) => setTimeout(resolve, LEASE_PAUSE_MS));
    if (await moveStorage(this.connection, definition))
      this.log.info({ queue: definition.name, storage: definition.storage }, 'queue:moved');
    await provisionQueue(this.connection, definition);
  }

  /**
   * Makes again what is missing, and puts back what somebody changed by hand: one listing of all lanes, then work only for those
   * that drifted. @returns the streams that were repaired
   */
  async reconcile(): Promise<string[]> {
    await provisionBase(this.connection);
    const now = performance.now();
    const due = [...this.failures].flatMap(([name, { until }]) => (until <= now ? [name] : []));
    const broken = [...due, ...(await queuesInMotion(this.connection))];
    for (const name of broken) if (this.definitions.has(name)) this.waiting.add(name);
    const repaired = new Set<string>();
    for (const { queue, lane, stream, what } of await laneDrift(this.connection, this.all(), this.turn())) {
      const definition = this.definitions.get(queue);
      if (!definition || this.waiting.has(queue) || this.failures.has(queue)) continue;
      try {
        await provisionLane(this.connection, definition, lane);
        this.log.info({ queue, lane, what }, 'lane:repaired');
        repaired.add(stream);
      } catch (error) {
        this.fail(queue, error);
      }
    }
    this.work();
    return [...repaired];
  }

  /** Which consumers this round looks at: all where there are few. */
  private turn(): (stream: string) => boolean {
    const rounds = Math.ceil((4 * this.definitions.size) / CONSUMERS_PER_ROUND);
    const now = this.round++ % Math.max(1, rounds);
    let index = 0;
    return () => index++ % Math.max(1, rounds) === now;
  }

  private async shortensLease({ name, lease }: QueueDefinition): Promise<boolean> {
    const { stream, consumer } = this.connection.names.lane(name, DEFAULT_LANE);
    const found = await consumerState(this.connection, stream, consumer);
    return found !== undefined && (found.backoffMs[0] ?? 0) > (lease === undefined ? LANE_DEFAULTS.leaseMs : toMs(lease, 'lease'));
  }

  private work(): void {
    while (this.working.size < AT_ONCE && this.waiting.size > 0) {
      const [name = ''] = this.waiting;
      this.waiting.delete(name);
      const run: Promise<void> = this.provision(name).finally(() => {
        this.working.delete(run);
        this.work();
      });
      this.working.add(run);
    }
  }

  private async provision(name: string): Promise<void> {
    const definition = this.definitions.get(name);
    if (!definition) return;
    try {
      await this.apply(definition);
      this.failures.delete(name);
      this.log.info({ queue: name }, 'queue:provisioned');
    } catch (error) {
      this.fail(name, error);
    }
  }

  private fail(queue: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const tries = (this.failures.get(queue)?.tries ?? 0) + 1;
    const refused = error instanceof JetlaneError && !error.retryable;
    const pause = refused ? Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS) : 0;
    this.failures.set(queue, { message, tries, until: performance.now() + pause });
    this.log.error({ queue, error: message }, 'queue:not-provisioned');
  }
}
