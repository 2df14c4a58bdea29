/** Priority classes inside a queue, highest first. The order is the order of service in mode `strict`. */
export const LANES = ['critical', 'high', 'normal', 'low'] as const;

/** A priority class inside a queue. */
export type Lane = (typeof LANES)[number];

/** The lane of a task whose producer names none. */
export const DEFAULT_LANE: Lane = 'normal';

/** Lane numbers of the HTTP API: 1 is low, 4 is critical. */
export const LANE_NUMBERS: Readonly<Record<Lane, number>> = { critical: 4, high: 3, normal: 2, low: 1 };

/** Default weights of mode `weighted`, per lane. */
export const DEFAULT_WEIGHTS: Readonly<Record<Lane, number>> = { critical: 8, high: 4, normal: 2, low: 1 };

const byName = new Map<string, Lane>(LANES.map((lane) => [lane, lane]));
const byNumber = new Map<number, Lane>(LANES.map((lane) => [LANE_NUMBERS[lane], lane]));

/** True for the name of a lane, in lower case. */
export function isLane(value: string): value is Lane {
  return byName.has(value);
}

/**
 * Reads a priority as people write it: a lane name in any case (`HIGH`) or its number 1…4.
 * @returns the lane, or `undefined` when the value means no lane
 */
export function parseLane(value: string | number): Lane | undefined {
  return typeof value === 'number' ? byNumber.get(value) : byName.get(value.toLowerCase());
}
