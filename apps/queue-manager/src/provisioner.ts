import { type Connection, type ListedLane, listLanes, provisionBase, provisionLane, provisionQueue } from '@jetlane/jetstream';
import { LANES, parseQueueDefinition, type QueueDefinition } from '@jetlane/protocol';

export interface ProvisionerLog {
  info(facts: object, event: string): void;
  error(facts: object, event: string): void;
}

/** Queues provisioned at a time: each is up to sixteen API requests. */
const AT_ONCE = 4;

/**
 * Makes streams and consumers be what the definitions say. Everything it does is idempotent, so any number of
 * provisioners may work at once. A queue whose provisioning failed is tried again by the next {@link reconcile}.
 */
export class Provisioner {
  private readonly definitions = new Map<string, QueueDefinition>();
  private readonly failures = new Map<string, string>();
  private waiting = new Set<string>();
  private readonly working = new Set<Promise<void>>();

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
    return Object.fromEntries(this.failures);
  }

  /** A definition is new or changed; provisioned in the background. A definition that does not fit the schema is told and passed over. */
  define(name: string, input: unknown): void {
    try {
      const definition = parseQueueDefinition(input);
      if (definition.name !== name) throw new Error(`the definition under the key "${name}" names the queue "${definition.name}"`);
      this.definitions.set(name, definition);
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
   * Makes again what is missing: one listing of all lanes, then work only for those that lack something.
   * @returns the lanes that were repaired
   */
  async reconcile(): Promise<string[]> {
    await provisionBase(this.connection);
    const standing = new Map((await listLanes(this.connection)).map((lane): [string, ListedLane] => [lane.stream, lane]));
    const repaired: string[] = [];
    for (const definition of this.definitions.values()) {
      if (this.failures.has(definition.name)) this.waiting.add(definition.name);
      for (const lane of LANES) {
        const { stream } = this.connection.names.lane(definition.name, lane);
        if (standing.get(stream)?.hasConsumer) continue;
        await provisionLane(this.connection, definition, lane).catch((error: unknown) => this.fail(definition.name, error));
        repaired.push(stream);
      }
    }
    this.work();
    if (repaired.length > 0) this.log.info({ repaired }, 'lanes:repaired');
    return repaired;
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
      await provisionQueue(this.connection, definition);
      this.failures.delete(name);
      this.log.info({ queue: name }, 'queue:provisioned');
    } catch (error) {
      this.fail(name, error);
    }
  }

  private fail(queue: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.failures.set(queue, message);
    this.log.error({ queue, error: message }, 'queue:not-provisioned');
  }
}
