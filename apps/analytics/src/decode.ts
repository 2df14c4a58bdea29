import { bodyText } from '@jetlane/jetstream';
import type { Heartbeat, MetricsSnapshot } from '@jetlane/protocol';
import type { BaseRecord } from './base-record.js';

type Bytes = { readonly data: Uint8Array };
type Fields = Readonly<Record<string, unknown>>;

/** A worker's snapshot; `undefined` for anything else: anybody may write to the subject. */
export function decodeSnapshot(message: Bytes): MetricsSnapshot | undefined {
  const value = object(message);
  const good = value && text(value, 'worker') && text(value, 'queue') && number(value, 'startedAt') && hasLanes(value);
  return good ? (value as unknown as MetricsSnapshot) : undefined;
}

export function decodeBase(message: Bytes): BaseRecord | undefined {
  const value = object(message);
  const good = value && text(value, 'queue') && number(value, 'at') && hasLanes(value) && isObject(value.folded);
  return good ? (value as unknown as BaseRecord) : undefined;
}

export function decodeHeartbeat(message: Bytes): Heartbeat | undefined {
  const value = object(message);
  const good = value && text(value, 'worker') && text(value, 'queue') && number(value, 'slots') && number(value, 'busy');
  return good ? (value as unknown as Heartbeat) : undefined;
}

function object(message: Bytes): Fields | undefined {
  try {
    const value: unknown = JSON.parse(bodyText(message));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: Fields, field: string): boolean => typeof value[field] === 'string';
const number = (value: Fields, field: string): boolean => Number.isFinite(value[field]);
const hasLanes = ({ lanes }: Fields): boolean =>
  isObject(lanes) && Object.values(lanes).every((lane) => isObject(lane) && isObject(lane.counts));
