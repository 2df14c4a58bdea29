import { readFileSync } from 'node:fs';
import { type Component, FileWatch } from '@jetlane/nestjs/service';
import { heldScopes, JetlaneError } from '@jetlane/protocol';
import type { Logger } from 'pino';
import type { Caller } from './caller.js';
import { hashKey, type KeyEntry, parseKeyLines } from './key-line.js';

export interface ApiKeysOptions {
  /** Keys as they are; they may do everything. */
  readonly plain: readonly string[];
  /** Lines as `npm run key` prints them. */
  readonly lines: string;
  /** File of such lines, read again when it changes. */
  readonly file?: string;
}

/**
 * The API keys that count at this moment, by their hashes. A lookup by hash tells nothing by the time it takes: who does
 * not know a key cannot steer its hash towards a known one.
 */
export class ApiKeys implements Component {
  private readonly fixed: ReadonlyMap<string, Caller>;
  private fromFile: ReadonlyMap<string, Caller> = new Map();
  private readonly watch: FileWatch | undefined;

  /** @throws JetlaneError `invalid-configuration` */
  constructor(
    private readonly options: ApiKeysOptions,
    private readonly logger: Pick<Logger, 'info' | 'error'>,
  ) {
    const plain = options.plain.map((key, index): KeyEntry => ({ name: `key-${index + 1}`, hash: hashKey(key), scopes: ['admin'] }));
    this.fixed = callersOf([...plain, ...parseKeyLines(options.lines, 'JETLANE_API_KEY_HASHES')]);
    this.watch = options.file ? new FileWatch([options.file]) : undefined;
    this.fromFile = this.readFile();
  }

  /** Keys that are known, expired ones among them. */
  get size(): number {
    return this.fixed.size + this.fromFile.size;
  }

  /** The holder of a key. */
  find(key: string): Caller | undefined {
    const digest = hashKey(key);
    const caller = this.fixed.get(digest) ?? this.fromFile.get(digest);
    return caller?.expires !== undefined && caller.expires <= Date.now() ? undefined : caller;
  }

  async start(): Promise<void> {
    this.watch?.start(() => this.reload());
  }

  async stop(): Promise<void> {
    this.watch?.stop();
  }

  /** A file that cannot be read leaves the keys as they were: half-written ones would lock everybody out. */
  private reload(): void {
    try {
      this.fromFile = this.readFile();
      this.logger.info({ keys: this.size }, 'keys:reloaded');
    } catch (error) {
      this.logger.error({ reason: (error as Error).message }, 'keys:reload-failed');
    }
  }

  private readFile(): ReadonlyMap<string, Caller> {
    const { file } = this.options;
    if (!file) return new Map();
    return callersOf(parseKeyLines(readText(file), `JETLANE_API_KEYS_FILE ${file}`));
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new JetlaneError('invalid-configuration', `JETLANE_API_KEYS_FILE cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

function callersOf(entries: readonly KeyEntry[]): ReadonlyMap<string, Caller> {
  return new Map(entries.map((entry) => [entry.hash, callerOf(entry)]));
}

function callerOf({ name, scopes, queues, expires }: KeyEntry): Caller {
  return {
    name: `key ${name}`,
    scopes: heldScopes(scopes),
    ...(queues ? { queues: new Set(queues) } : {}),
    ...(expires === undefined ? {} : { expires }),
  };
}
