import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { type Connection, JsonBucket } from '@jetlane/jetstream';
import type { Component } from '@jetlane/nestjs/service';
import { JetlaneError, type QueueDefinition } from '@jetlane/protocol';
import type { Audit } from '../audit/audit.js';
import type { ProvisionerLog } from '../provisioner.js';
import type { DefinitionStore } from './definition-store.js';
import { parseDefinitionsFile } from './definitions-file.js';

/** Read when no other is named. */
export const DEFAULT_FILE = 'jetlane.queues.yaml';
const LOOK_MS = 5000;

export interface FileSourceOptions {
  /** The file; then it must be there. Default: `jetlane.queues.yaml`, if it is there. */
  readonly file?: string | undefined;
  /** Pause between two looks whether the file has changed, in ms. Default 5,000. */
  readonly lookMs?: number;
  readonly log: ProvisionerLog;
}

/**
 * Brings definitions from a file into the bucket `queues`: at the start, and when the file changes. A queue is written when its entry in the
 * file is another than the last one that was brought in, so that a change by the API holds until the file says something new.
 * A queue that is no longer in the file stays. The last entries are in the bucket `queue_sources`.
 */
export class FileSource implements Component {
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;
  private last: string | undefined;
  private readonly file: string;

  constructor(
    private readonly connection: Connection,
    private readonly store: DefinitionStore,
    private readonly audit: Pick<Audit, 'record'>,
    private readonly options: FileSourceOptions,
  ) {
    this.file = options.file ?? DEFAULT_FILE;
  }

  /** @throws JetlaneError `invalid-configuration` when the file is wrong, or missing though it was named */
  async start(): Promise<void> {
    const text = await this.read();
    if (text === undefined && this.options.file !== undefined)
      throw new JetlaneError('invalid-configuration', `JETLANE_QUEUES_FILE names "${this.file}", which is not there`, {
        details: { issues: [{ variable: 'JETLANE_QUEUES_FILE', message: 'no such file' }] },
      });
    if (text !== undefined) await this.bring(text);
    this.timer = setInterval(() => this.look(), this.options.lookMs ?? LOOK_MS);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.looking;
  }

  /** A file that is wrong changes nothing until it is right; one that is gone neither. */
  private look(): void {
    if (this.looking || this.connection.state !== 'connected') return;
    this.looking = this.lookNow()
      .catch((error: unknown) => this.options.log.error({ file: this.file, error: (error as Error).message }, 'queues:file-not-read'))
      .finally(() => {
        this.looking = undefined;
      });
  }

  private async lookNow(): Promise<void> {
    const text = await this.read();
    if (text !== undefined && text !== this.last) await this.bring(text);
  }

  private async read(): Promise<string | undefined> {
    try {
      return await readFile(this.file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new JetlaneError('invalid-configuration', `${this.file} cannot be read: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * Crash between definition and note: the entry is written once more at the next start, which changes nothing unless somebody has used the
   * API meanwhile. Several processes with one file write the same.
   */
  private async bring(text: string): Promise<void> {
    // A wrong file is told once, and again when it has changed.
    this.last = text;
    const definitions = parseDefinitionsFile(text, this.file);
    const sources = await JsonBucket.open<QueueDefinition>(this.connection, this.connection.names.bucket('queue_sources'), 1);
    for (const definition of definitions) {
      if (isDeepStrictEqual((await sources.get(definition.name))?.value, definition)) continue;
      await this.write(definition);
      await sources.put(definition.name, definition);
    }
  }

  private async write(definition: QueueDefinition): Promise<void> {
    const queue = definition.name;
    const stands = await (await this.store.bucket()).get(queue);
    if (isDeepStrictEqual(stands?.value, definition)) return;
    const { before } = await this.store.change(queue, undefined, () => definition);
    await this.audit.record({
      at: Date.now(),
      caller: `file ${this.file}`,
      command: 'queues.put',
      target: queue,
      before,
      after: definition,
    });
    this.options.log.info({ queue, file: this.file }, 'queue:defined');
  }
}
