import { hash, randomBytes } from 'node:crypto';
import { isQueueName, JetlaneError, SCOPES, type Scope } from '@jetlane/protocol';

/**
 * An API key as it is kept: only its hash. One SHA-256 is enough where the secret has 256 random bits: there is no list of
 * likely keys to try, as there is for passwords; and it is computed for every request.
 */
export interface KeyEntry {
  /** Who holds it, for audit and rate limit. Several keys may share a name: the old and the new one of a rotation. */
  readonly name: string;
  /** SHA-256 of the key, in hex. */
  readonly hash: string;
  readonly scopes: readonly Scope[];
  /** The only queues that it may use. Default: all. */
  readonly queues?: readonly string[];
  /** Ms since 1970. Default: never. */
  readonly expires?: number;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const HASH = /^sha256:([0-9a-f]{64})$/;
const BYTES = 32;

/** True for a legal name of a key. */
export const isKeyName = (text: string): boolean => NAME.test(text);

/** SHA-256 of a key, in hex. */
export const hashKey = (key: string): string => hash('sha256', key, 'hex');

/** A new key: 256 random bits behind a prefix by which scanners for leaked secrets find it. */
export const newKey = (): string => `jl_${randomBytes(BYTES).toString('base64url')}`;

/** The line that a file of keys holds. */
export function formatKeyLine({ name, hash, scopes, queues, expires }: KeyEntry): string {
  const parts = [name, `sha256:${hash}`, `scopes=${scopes.join(',')}`];
  if (queues) parts.push(`queues=${queues.join(',')}`);
  if (expires !== undefined) parts.push(`expires=${new Date(expires).toISOString()}`);
  return parts.join(' ');
}

/**
 * Reads lines of keys; empty ones and those that begin with `#` are left out.
 * @param source names the lines in messages: a path or a variable
 * @throws JetlaneError `invalid-configuration` with the number of the first line that is wrong; never with its text, which may be a key
 */
export function parseKeyLines(text: string, source: string): KeyEntry[] {
  return text.split(/\r?\n|;/).flatMap((line, index) => {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) return [];
    try {
      return [parseKeyLine(trimmed)];
    } catch (error) {
      throw new JetlaneError('invalid-configuration', `${source}, line ${index + 1}: ${(error as Error).message}`, {
        details: { source, line: index + 1 },
      });
    }
  });
}

/** @throws Error that says what was expected */
function parseKeyLine(line: string): KeyEntry {
  const [name = '', hash = '', ...options] = line.split(/\s+/);
  if (!isKeyName(name)) throw new Error('expected a name first: letters, digits and . _ @ -, at most 64');
  const digest = HASH.exec(hash)?.[1];
  if (!digest) throw new Error('expected "sha256:" and 64 hexadecimal digits after the name; "npm run key" makes a key and its line');
  const entry: { -readonly [Field in keyof KeyEntry]?: KeyEntry[Field] } = { name, hash: digest };
  for (const option of options) readOption(entry, option);
  if (!entry.scopes) throw new Error(`expected scopes=, one or more of ${SCOPES.join(', ')}`);
  return entry as KeyEntry;
}

function readOption(entry: { -readonly [Field in keyof KeyEntry]?: KeyEntry[Field] }, option: string): void {
  const [field, value = ''] = option.split('=', 2);
  if (field === 'scopes') entry.scopes = readScopes(value);
  else if (field === 'queues') entry.queues = readQueues(value);
  else if (field === 'expires') entry.expires = readTime(value);
  else throw new Error('expected scopes=, queues= or expires= after the hash');
}

const list = (text: string): string[] => text.split(',').flatMap((item) => item.trim() || []);

/** @throws Error for an unknown scope, or none */
export function readScopes(text: string): Scope[] {
  const scopes = list(text);
  if (scopes.length === 0 || !scopes.every(isScope)) throw new Error(`expected scopes= with one or more of ${SCOPES.join(', ')}`);
  return scopes;
}

/** @throws Error for what is no queue name, or none */
export function readQueues(text: string): string[] {
  const queues = list(text);
  if (queues.length === 0 || !queues.every(isQueueName))
    throw new Error('expected queues= with names of queues, or no queues= for all of them');
  return queues;
}

/** @throws Error for what is no date */
export function readTime(text: string): number {
  const time = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new Error('expected expires= with a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z');
  return time;
}

const isScope = (text: string): text is Scope => (SCOPES as readonly string[]).includes(text);
