import { randomBytes } from 'node:crypto';
import { LANE, QUEUE, TASK_TYPE } from '../harness/contract.js';

const encoder = new TextEncoder();
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const keyStem = randomBytes(12).toString('base64url').slice(0, 16);
const spanStem = randomBytes(4).toString('hex');
const trace = randomBytes(16).toString('hex');

/** A key as the product's generator makes them, 22 characters, but counted up: the cheapest that is unique. */
export function keyOf(index: number): string {
  let tail = '';
  for (let shift = 30; shift >= 0; shift -= 6) tail += ALPHABET[(index >>> shift) & 63];
  return keyStem + tail;
}

/** A W3C trace context: one trace, a span per task. */
export function traceparentOf(index: number): string {
  return `00-${trace}-${spanStem}${(index + 0x10000000).toString(16)}-01`;
}

/** The header block of a plain task, byte for byte what the product's client sends. */
export function taskHeaders(key: string, index: number): Uint8Array {
  return Buffer.from(
    `NATS/1.0\r\nNats-Msg-Id: ${key}#1\r\nTask-Type: ${TASK_TYPE}\r\nTask-Created-At: ${Date.now()}\r\ntraceparent: ${traceparentOf(index)}\r\n\r\n`,
    'latin1',
  );
}

/** The header block of every state record. */
export const recordHeaders: Uint8Array = encoder.encode('NATS/1.0\r\nNats-TTL: 86400s\r\n\r\n');

/** Times and names of a settled task, as a record states them. */
export interface Settled {
  key: string;
  type: string;
  created: string;
  stored: string;
  fetched: number;
  started: number;
  finished: number;
  worker: string;
  trace: string;
}

/** The record of a completed task, field by field what the product's worker writes. */
export function recordBody(task: Settled): Uint8Array {
  return Buffer.from(
    `{"id":"${QUEUE}.${task.key}","hop":1,"lane":"${LANE}","type":"${task.type}","state":"completed","attempt":1,"at":{"created":${task.created},"stored":${task.stored},"fetched":${task.fetched},"started":${task.started},"finished":${task.finished}},"result":{"ok":true},"worker":"${task.worker}","trace":"${task.trace}"}`,
    'latin1',
  );
}
