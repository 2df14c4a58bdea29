/** How the lanes of a queue share a worker's slots. */
export type LaneMode = 'strict' | 'weighted';

/** Chooses the lane whose buffered task runs next. Lanes are numbered from the highest. */
export interface LanePicker {
  /**
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
  readonly lanes: readonly LanePullState[];
}

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

/**
 * How many more tasks to ask for, per lane. Every lane keeps an open pull of at least min(8, free); the rest of the free
 * slots goes to lanes with a known backlog, by weight or to the highest. What other lanes have waiting here takes no slot
 * from a lane that may go first: else a surplus of low tasks would keep a worker of few slots from asking for high ones.
 * Running + buffered + open never exceeds slots + 8 × (lanes − 1).
 */
export function planPulls(state: PullState, mode: LaneMode, weights: readonly number[]): number[] {
  const idle = Math.max(0, state.slots - state.running);
  const held = state.running + sum(state.lanes, (lane) => lane.buffered);
  let room = state.slots + PULL_SURPLUS * (state.lanes.length - 1) - held - sum(state.lanes, (lane) => lane.open);
  const targets = targetsOf(state.lanes, idle, mode, weights);
  return state.lanes.map((lane, i) => {
    const target = targets[i]!;
    if (lane.open * 2 > target) return 0;
    const asked = Math.max(0, Math.min(target - lane.open, room));
    room -= asked;
    return asked;
  });
}

function targetsOf(lanes: readonly LanePullState[], idle: number, mode: LaneMode, weights: readonly number[]): number[] {
  if (mode === 'strict') return strictTargets(lanes, idle);
  const total = sum(lanes, (lane, i) => (lane.pending > 0 ? weights[i]! : 0));
  return lanes.map(({ buffered, pending }, i) => {
    const floor = Math.max(0, Math.min(PULL_SURPLUS, idle) - buffered);
    return pending > 0 ? Math.max(floor, Math.floor((idle * weights[i]!) / total) - buffered) : floor;
  });
}

function strictTargets(lanes: readonly LanePullState[], idle: number): number[] {
  const top = lanes.findIndex((lane) => lane.pending > 0);
  let free = idle;
  return lanes.map(({ buffered }, i) => {
    free = Math.max(0, free - buffered);
    return i === top ? free : Math.max(0, Math.min(PULL_SURPLUS, free) - buffered);
  });
}

function sum<T>(items: readonly T[], value: (item: T, index: number) => number): number {
  let total = 0;
  for (let i = 0; i < items.length; i++) total += value(items[i]!, i);
  return total;
}
