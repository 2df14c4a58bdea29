/** How the lanes of a queue share a worker's slots. */
export type LaneMode = 'strict' | 'weighted';

/** Chooses the lane whose buffered task runs next. Lanes are numbered from the highest. */
export interface LanePicker {
  /**
   * Chooses, and counts the choice where lanes take turns.
   * @param buffered tasks waiting in each lane
   * @returns the lane to serve, or -1 when all are empty
   */
  next(buffered: readonly number[]): number;
}

/** Always the highest lane that has a task. */
export const strictPicker: LanePicker = { next: (buffered) => buffered.findIndex((count) => count > 0) };

/**
 * Deficit round robin: a lane that is visited earns its weight and is served while it has credit; an empty lane loses
 * what it earned. Over a full round a busy lane gets exactly weight / sum of the busy lanes' weights, so none starves.
 */
export function weightedPicker(weights: readonly number[]): LanePicker {
  const credit = weights.map(() => 0);
  let lane = weights.length - 1;
  const next = (buffered: readonly number[]): number => {
    for (let visits = 0; visits <= weights.length; visits++) {
      if (buffered[lane]! > 0 && credit[lane]! >= 1) {
        credit[lane]! -= 1;
        return lane;
      }
      if (!(buffered[lane]! > 0)) credit[lane] = 0;
      lane = (lane + 1) % weights.length;
      credit[lane]! += weights[lane]!;
    }
    return -1;
  };
  return { next };
}

/** What a pull plan is made from. */
export interface PullState {
  /** Handlers that may run at once. */
  readonly slots: number;
  readonly running: number;
  /** Held back by a limit of their group: here, but nothing that a free slot could run. */
  readonly parked?: number;
  /** Tasks of each lane that could start now, where reserved slots or limits allow less than the free slots. */
  readonly startable?: readonly number[];
  /** Tasks that every lane may promise beyond the slots. Default {@link PULL_SURPLUS}, which is also the most. */
  readonly surplus?: number;
  readonly lanes: readonly LanePullState[];
}

/** What a worker knows of one lane when it asks for more. All are numbers of tasks. */
export interface LanePullState {
  /** Delivered and waiting for a slot. */
  readonly buffered: number;
  /** Asked for and not yet delivered. */
  readonly open: number;
  /** Tasks that the server still had when it last delivered one. */
  readonly pending: number;
}

/** Tasks that every lane may promise beyond the slots. Measured: without it a high task on an idle system waits for an exclusive promise to run out. */
export const PULL_SURPLUS = 8;

/** Work that a worker may have waiting behind its slots, as time. */
const PREFETCH_MS = 25;

/**
 * The surplus for a handler: what the slots finish in 25 ms, at least one and at most {@link PULL_SURPLUS}. So a fast handler is
 * fed, and a slow one leaves to others what it could not begin.
 */
export function surplusFor(slots: number, runMs: number): number {
  return Math.max(1, Math.min(PULL_SURPLUS, Math.floor((slots * PREFETCH_MS) / Math.max(runMs, 0.001))));
}

/**
 * How many more tasks to ask for, per lane. Every lane keeps an open pull of at least min(surplus, free); the rest of the free
 * slots goes to lanes with a known backlog, by weight or to the highest. What other lanes have waiting here takes no slot
 * from a lane that may go first: else a surplus of low tasks would keep a worker of few slots from asking for high ones.
 * Running + parked + buffered + open never exceeds slots + 8 × (lanes − 1).
 */
export function planPulls(state: PullState, mode: LaneMode, weights: readonly number[]): number[] {
  const { slots, running, lanes, surplus = PULL_SURPLUS } = state;
  const idle = Math.max(0, slots - running);
  const free = lanes.map((_, i) => Math.max(0, Math.min(idle, state.startable?.[i] ?? idle)));
  const held = running + (state.parked ?? 0) + sum(lanes, (lane) => lane.buffered);
  let room = slots + PULL_SURPLUS * (lanes.length - 1) - held - sum(lanes, (lane) => lane.open);
  const targets = mode === 'strict' ? strictTargets(lanes, free, surplus) : weightedTargets(lanes, free, surplus, weights);
  return lanes.map((lane, i) => {
    const target = targets[i]!;
    if (lane.open * 2 > target) return 0;
    const asked = Math.max(0, Math.min(target - lane.open, room));
    room -= asked;
    return asked;
  });
}

function weightedTargets(lanes: readonly LanePullState[], free: readonly number[], surplus: number, weights: readonly number[]): number[] {
  const total = sum(lanes, (lane, i) => (lane.pending > 0 ? weights[i]! : 0));
  return lanes.map(({ buffered, pending }, i) => {
    const floor = Math.max(0, Math.min(surplus, free[i]!) - buffered);
    return pending > 0 ? Math.max(floor, Math.floor((free[i]! * weights[i]!) / total) - buffered) : floor;
  });
}

function strictTargets(lanes: readonly LanePullState[], free: readonly number[], surplus: number): number[] {
  const top = lanes.findIndex((lane) => lane.pending > 0);
  let ahead = 0;
  return lanes.map(({ buffered }, i) => {
    ahead += buffered;
    const left = Math.max(0, free[i]! - ahead);
    return i === top ? left : Math.max(0, Math.min(surplus, left) - buffered);
  });
}

function sum<T>(items: readonly T[], value: (item: T, index: number) => number): number {
  let total = 0;
  for (let i = 0; i < items.length; i++) total += value(items[i]!, i);
  return total;
}
