import { type BucketEntry, type Connection, type JsonBucket, openQueueBucket } from '@jetlane/jetstream';
import {
  type CommandOutput,
  JetlaneError,
  parseQueueDefinition,
  type QUEUE_COMMANDS,
  type QueueDefinition,
  UnknownQueueError,
} from '@jetlane/protocol';

/** A definition and the revision that a change must name. */
export type StoredDefinition = CommandOutput<typeof QUEUE_COMMANDS.get>;
type Past = CommandOutput<typeof QUEUE_COMMANDS.history>['items'][number];

/** What a change did, for the audit. */
export interface Changed {
  readonly before: QueueDefinition | undefined;
  readonly stored: StoredDefinition;
}

/** Tries of a change that named no revision, when others write at the same time. */
const TRIES = 10;

/** The definitions in the bucket `queues`: every change is a compare-and-set. */
export class DefinitionStore {
  private opening: Promise<JsonBucket<QueueDefinition>> | undefined;

  constructor(private readonly connection: Connection) {}

  bucket(): Promise<JsonBucket<QueueDefinition>> {
    this.opening ??= openQueueBucket(this.connection).catch((error: unknown) => {
      this.opening = undefined;
      throw error;
    });
    return this.opening;
  }

  /** All definitions with their revisions, by name. */
  async list(): Promise<StoredDefinition[]> {
    const entries = await (await this.bucket()).all();
    return entries.map(view).sort((a, b) => (a.definition.name < b.definition.name ? -1 : 1));
  }

  /** @throws UnknownQueueError */
  async get(queue: string): Promise<StoredDefinition> {
    const entry = await (await this.bucket()).get(queue);
    if (entry) return view(entry);
    throw new UnknownQueueError(
      queue,
      (await this.list()).map(({ definition }) => definition.name),
    );
  }

  /** What a definition was, newest first. @throws UnknownQueueError when there never was one */
  async history(queue: string): Promise<Past[]> {
    const past = await (await this.bucket()).history(queue);
    if (past.length === 0)
      throw new UnknownQueueError(
        queue,
        (await this.list()).map(({ definition }) => definition.name),
      );
    return past.reverse().map(({ revision, at, value }) => ({ revision, at, definition: value ?? null }));
  }

  /** Creates the queues that never were defined: one that somebody deleted stays deleted. */
  async createNew(definitions: readonly QueueDefinition[]): Promise<void> {
    const bucket = await this.bucket();
    for (const definition of definitions)
      if ((await bucket.history(definition.name)).length === 0) await bucket.create(definition.name, definition);
  }

  /** Puts back what the bucket has lost without a trace: somebody deleted the bucket itself. @returns the queues */
  async restore(known: readonly QueueDefinition[]): Promise<string[]> {
    const stored = new Set((await this.list()).map(({ definition }) => definition.name));
    const bucket = await this.bucket();
    const restored: string[] = [];
    for (const definition of known) {
      if (stored.has(definition.name) || (await bucket.history(definition.name)).length > 0) continue;
      if (await bucket.create(definition.name, definition)) restored.push(definition.name);
    }
    return restored;
  }

  /**
   * Changes a definition.
   * @param revision the one it must have; 0: there must be none; undefined: any, and then the change may be computed again
   * @param change gives the new definition; undefined: no queue of this name yet
   * @throws JetlaneError `revision-conflict`, `invalid-configuration`; what `change` throws
   */
  async change(
    queue: string,
    revision: number | undefined,
    change: (before: QueueDefinition | undefined) => QueueDefinition | Promise<QueueDefinition>,
  ): Promise<Changed> {
    const bucket = await this.bucket();
    for (let tries = 1; ; tries++) {
      const entry = await bucket.get(queue);
      this.assertRevision(queue, revision, entry);
      const definition = parseQueueDefinition(await change(entry?.value));
      const written = entry ? await bucket.update(queue, definition, entry.revision) : await bucket.insert(queue, definition);
      if (written !== undefined) return { before: entry?.value, stored: { definition, revision: written } };
      if (revision !== undefined || tries === TRIES) throw conflict(queue, revision, undefined);
    }
  }

  /**
   * Removes a definition.
   * @throws UnknownQueueError, JetlaneError `revision-conflict`
   */
  async remove(queue: string, revision: number | undefined): Promise<StoredDefinition> {
    const bucket = await this.bucket();
    for (let tries = 1; ; tries++) {
      const found = await this.get(queue);
      if (revision !== undefined && found.revision !== revision) throw conflict(queue, revision, found.revision);
      if (await bucket.remove(queue, found.revision)) return found;
      if (revision !== undefined || tries === TRIES) throw conflict(queue, revision, undefined);
    }
  }

  /** Takes a change back, unless somebody has changed the definition since. */
  async undo({ before, stored }: Changed): Promise<void> {
    const bucket = await this.bucket();
    const { name } = stored.definition;
    if (before) await bucket.update(name, before, stored.revision);
    else await bucket.remove(name, stored.revision);
  }

  private assertRevision(queue: string, revision: number | undefined, entry: BucketEntry<QueueDefinition> | undefined): void {
    if (revision !== undefined && revision !== (entry?.revision ?? 0)) throw conflict(queue, revision, entry?.revision ?? 0);
  }
}

const view = ({ value, revision }: BucketEntry<QueueDefinition>): StoredDefinition => ({ definition: value, revision });

function conflict(queue: string, revision: number | undefined, current: number | undefined): JetlaneError {
  const wanted =
    revision === 0
      ? `queue "${queue}" exists already`
      : `the definition of queue "${queue}" is not revision ${revision ?? 'that was read'} any more`;
  const now = current === undefined ? '' : ` (it is ${current})`;
  return new JetlaneError('revision-conflict', `${wanted}${now}; read it again and decide`, {
    details: { queue, ...(current === undefined ? {} : { revision: current }) },
  });
}
