import { JetlaneError } from './errors.js';

const QUEUE = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const KEY = /^[A-Za-z0-9_-]{1,128}$/;
const TYPE = /^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$/;
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_';

/** True for a legal queue name: `[a-z0-9][a-z0-9_-]{0,63}`. */
export const isQueueName = (value: string): boolean => QUEUE.test(value);

/** True for a legal task key: `[A-Za-z0-9_-]{1,128}`. */
export const isTaskKey = (value: string): boolean => KEY.test(value);

/** True for a legal task type: letters, digits and `_ . : / -`, at most 128. */
export const isTaskType = (value: string): boolean => TYPE.test(value);

/** A task id in its two parts. */
export interface TaskId {
  readonly queue: string;
  readonly key: string;
}

/** `<queue>.<key>`: the public id of a task. */
export const formatTaskId = (queue: string, key: string): string => `${queue}.${key}`;

/**
 * Takes a public task id apart.
 * @throws JetlaneError `invalid-argument` when it is not `<queue>.<key>`
 */
export function parseTaskId(id: string): TaskId {
  const dot = id.indexOf('.');
  const queue = id.slice(0, dot);
  const key = id.slice(dot + 1);
  if (dot < 1 || !isQueueName(queue) || !isTaskKey(key)) {
    throw new JetlaneError('invalid-argument', `expected a task id of the form <queue>.<key>, got ${JSON.stringify(id.slice(0, 200))}`, {
      details: { field: 'task_id' },
    });
  }
  return { queue, key };
}

function random(length: number): string {
  let text = '';
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) text += ALPHABET[byte & 63];
  return text;
}

/**
 * A source of task keys: 16 random characters (96 bits) drawn once per source, then a counter of six digits in base 64,
 * so that a source repeats nothing for 6.8e10 keys and two sources never meet. 22 characters; no system call per key.
 */
export function keySource(): () => string {
  const prefix = random(16);
  const digits = new Uint8Array(6);
  return () => {
    for (let i = 5; i >= 0; i--) {
      digits[i] = (digits[i]! + 1) & 63;
      if (digits[i] !== 0) break;
    }
    let tail = '';
    for (let i = 0; i < 6; i++) tail += ALPHABET[digits[i]!];
    return prefix + tail;
  };
}
