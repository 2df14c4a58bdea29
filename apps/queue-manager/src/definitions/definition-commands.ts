import type { Connection } from '@jetlane/jetstream';
import { type Component, serveRegistered } from '@jetlane/nestjs/service';
import { type CommandInput, JetlaneError, QUEUE_COMMANDS, type QueueDefinition, UnknownQueueError } from '@jetlane/protocol';
import type { Audit } from '../audit/audit.js';
import { type Change, serveChange } from '../audit/serve-change.js';
import type { Provisioner } from '../provisioner.js';
import type { DefinitionStore, StoredDefinition } from './definition-store.js';
import { removeQueueSafely } from './queue-removal.js';

type PutInput = CommandInput<typeof QUEUE_COMMANDS.put>;
type PatchInput = CommandInput<typeof QUEUE_COMMANDS.patch>;
type DeleteInput = CommandInput<typeof QUEUE_COMMANDS.delete>;

/** Answers the commands about queue definitions. */
export class DefinitionCommands implements Component {
  private readonly stops: (() => void)[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly store: DefinitionStore,
    private readonly provisioner: Pick<Provisioner, 'apply'>,
    private readonly audit: Audit,
  ) {}

  async start(): Promise<void> {
    const { connection, audit, store } = this;
    const { list, get, history, put, patch, delete: remove } = QUEUE_COMMANDS;
    this.stops.push(
      serveRegistered(connection, list, async () => ({ items: await store.list() })),
      serveRegistered(connection, get, ({ queue }) => store.get(queue)),
      serveRegistered(connection, history, async ({ queue }) => ({ items: await store.history(queue) })),
      serveChange(connection, audit, put, (input) => this.put(input)),
      serveChange(connection, audit, patch, (input) => this.patch(input)),
      serveChange(connection, audit, remove, (input) => this.remove(input)),
    );
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
  }

  private put({ queue, revision, name = queue, ...fields }: PutInput): Promise<Change<StoredDefinition>> {
    if (name !== queue)
      throw new JetlaneError('invalid-argument', `the body names the queue "${name}", the path "${queue}"; a queue cannot be renamed`, {
        details: { field: 'name' },
      });
    return this.change(queue, revision, () => ({ ...fields, name }));
  }

  private patch({ queue, revision, ...fields }: PatchInput): Promise<Change<StoredDefinition>> {
    return this.change(queue, revision, async (before) => {
      if (!before)
        throw new UnknownQueueError(
          queue,
          (await this.store.list()).map(({ definition }) => definition.name),
        );
      const merged = Object.entries({ ...before, ...fields }).filter(([, value]) => value !== null && value !== undefined);
      return Object.fromEntries(merged) as QueueDefinition;
    });
  }

  /**
   * Crash between the definition and its streams: every queue manager sees the definition and provisions it.
   * Streams that cannot be had: the definition is taken back, and the caller hears why.
   */
  private async change(
    queue: string,
    revision: number | undefined,
    change: (before: QueueDefinition | undefined) => QueueDefinition | Promise<QueueDefinition>,
  ): Promise<Change<StoredDefinition>> {
    const changed = await this.store.change(queue, revision, change);
    const { before, stored } = changed;
    try {
      await this.provisioner.apply(stored.definition);
    } catch (error) {
      await this.store.undo(changed);
      if (before) await this.provisioner.apply(before).catch(() => undefined);
      throw error;
    }
    return { output: stored, before, after: stored.definition };
  }

  private async remove({ queue, revision, force }: DeleteInput): Promise<Change<{ queue: string; dropped: number }>> {
    const { dropped, before } = await removeQueueSafely(this.connection, this.store, queue, { revision, force });
    return { output: { queue, dropped }, before, after: { dropped } };
  }
}
