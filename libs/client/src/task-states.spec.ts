import { isOver, type StoredMessage, type TaskCopy, type TaskStore, type TaskTraces } from '@jetlane/jetstream';
import { isFinal, type StateRecord, type TaskState } from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RunningTasks } from './running-tasks.js';
import { lookUp } from './status.js';

/**
 * What may be seen of a task after what. A cancelled task is completed or dead when its handler had begun before the worker heard of it; one that has a
 * dead letter comes back by a redrive alone; what is completed stays so.
 */
const LEGAL: Readonly<Record<string, readonly TaskState[]>> = {
  none: ['accepted'],
  accepted: ['scheduled', 'queued', 'cancelled'],
  scheduled: ['queued', 'cancelled'],
  queued: ['running', 'cancelled', 'dead'],
  running: ['completed', 'dead', 'retrying', 'cancelled', 'queued'],
  retrying: ['queued', 'cancelled'],
  completed: [],
  cancelled: ['completed', 'dead', 'queued'],
  dead: ['queued'],
};

interface Copy {
  readonly hop: number;
  readonly attempt: number;
  /** Deliveries so far. */
  count: number;
}

/** Where a copy goes next, and what is decided from the rules of the product; only storing and handing out are made up. */
class World {
  record: StateRecord | undefined;
  lane: Copy[] = [];
  due: Copy[] = [];
  timer: Copy | undefined;
  dead: Copy | undefined;
  published = false;
  /** What a worker holds: it runs, its dead letter stands, or only the ack is missing. */
  held: { readonly copy: Copy; phase: 'runs' | 'buried' | 'settled' } | undefined;

  traces(): TaskTraces {
    const copy = (place: TaskCopy['place'], found: Copy | undefined): TaskCopy[] =>
      found ? [{ place, ...(place === 'lane' ? { lane: 'normal' as const } : {}), hop: found.hop, stored: messageOf(found) }] : [];
    const copies = [
      ...copy('lane', this.lane.at(-1)),
      ...copy('timer', this.timer),
      ...copy('due', this.due.at(-1)),
      ...copy('dead', this.dead),
    ];
    return { ...(this.record ? { record: this.record } : {}), recordSequence: 0, copies };
  }

  async seen(): Promise<{ state: TaskState | 'none'; hop: number }> {
    const store = { traces: () => Promise.resolve(this.traces()) } as unknown as TaskStore;
    const find = (_queue: string, _key: string, hop: number) =>
      this.held?.phase === 'runs' && this.held.copy.hop === hop ? { id: 'q.k', startedAt: 0, worker: 'w' } : undefined;
    return lookUp(store, { queue: 'q', key: 'k' }, { find } as unknown as RunningTasks, async () => true).catch(() => ({
      state: 'none' as const,
      hop: 0,
    }));
  }

  write(state: TaskState, hop: number): void {
    this.record = { id: 'q.k', hop, state, attempt: 1, at: {} };
  }
}

const next = ({ hop, attempt }: Copy, more: number): Copy => ({ hop: hop + 1, attempt: attempt + more, count: 0 });
const messageOf = ({ hop, attempt }: Copy): StoredMessage => ({
  ...{ subject: 's.q.normal.k', sequence: 1, storedAt: 0, data: new Uint8Array(0) },
  headers: [
    ['Task-Hop', String(hop)],
    ['Task-Attempt', String(attempt)],
  ],
});
const without = (list: Copy[], gone: Copy): Copy[] => list.filter((copy) => copy !== gone);

/** Each is one write, so that a death may come between any two. */
const STEPS = {
  accept: (w: World) => {
    if (!w.record && !w.published) w.write('accepted', 1);
  },
  publish: (w: World) => first(w, () => w.lane.push({ hop: 1, attempt: 1, count: 0 })),
  delay: (w: World) =>
    first(w, () => {
      w.timer = { hop: 1, attempt: 1, count: 0 };
    }),
  fire: (w: World) => {
    if (w.timer) w.due.push({ ...w.timer, count: 0 });
    w.timer = undefined;
  },
  move: (w: World) => moveDue(w, true),
  moveAndDie: (w: World) => moveDue(w, false),
  deliver,
  complete: (w: World) => {
    if (w.held?.phase !== 'runs') return;
    w.write('completed', w.held.copy.hop);
    w.held.phase = 'settled';
  },
  retry: (w: World) => {
    if (w.held?.phase !== 'runs') return;
    const later = next(w.held.copy, 1);
    const cancelled = w.record?.state === 'cancelled' && w.record.hop >= w.held.copy.hop;
    if (!cancelled && (w.timer?.hop ?? 0) < later.hop) w.timer = later;
    w.held.phase = 'settled';
  },
  bury: (w: World) => {
    if (w.held?.phase === 'runs') w.dead = w.held.copy;
    if (w.held?.phase === 'buried') w.write('dead', w.held.copy.hop);
    if (w.held) w.held.phase = w.held.phase === 'runs' ? 'buried' : 'settled';
  },
  ack: (w: World) => {
    if (w.held?.phase !== 'settled') return;
    w.lane = without(w.lane, w.held.copy);
    w.held = undefined;
  },
  die: (w: World) => {
    w.held = undefined;
  },
  cancel,
  redrive: (w: World) => redrive(w, true),
  redriveAndDie: (w: World) => redrive(w, false),
};

function first(w: World, store: () => void): void {
  if (!w.record || w.published) return;
  w.published = true;
  store();
}

function moveDue(w: World, ends: boolean): void {
  const copy = w.due[0];
  if (!copy) return;
  const settled = w.record && (w.record.hop > copy.hop || (w.record.hop === copy.hop && isFinal(w.record.state)));
  const known = isOver(w.traces(), copy.hop) || w.lane.some(({ hop }) => hop >= copy.hop);
  if (!(copy.count++ > 0 ? known : settled)) w.lane.push({ ...copy, count: 0 });
  if (ends) w.due = without(w.due, copy);
}

function deliver(w: World): void {
  const copy = w.lane[0];
  if (!copy || w.held) return;
  // Only a redelivery looks whether it is settled; see needsCheck.
  if (copy.count++ === 0) w.held = { copy, phase: 'runs' };
  else if (isOver(w.traces(), copy.hop)) w.lane = without(w.lane, copy);
  else {
    w.write('queued', copy.hop);
    w.held = { copy, phase: 'runs' };
  }
}

function cancel(w: World): void {
  const { record, copies } = w.traces();
  const live = copies.filter(({ place }) => place !== 'dead');
  const top = Math.max(0, record?.hop ?? 0, ...live.map(({ hop }) => hop));
  if (top === 0 || isOver({ copies, recordSequence: 0, ...(record ? { record } : {}) }, top)) return;
  if (live.length === 0 && record?.state !== 'accepted') return;
  w.write('cancelled', top);
  [w.lane, w.due, w.timer] = [[], [], undefined];
}

function redrive(w: World, ends: boolean): void {
  // Its record follows a dead letter at once; a redrive that ran to its end in between would be overwritten by it.
  if (!w.dead || w.held?.phase === 'buried') return;
  const { copies } = w.traces();
  const done = (w.record?.hop ?? 0) > w.dead.hop || copies.some(({ place, hop }) => place !== 'dead' && hop > w.dead!.hop);
  if (!done) w.lane.push({ hop: w.dead.hop + 1, attempt: 1, count: 0 });
  if (ends) w.dead = undefined;
}

const names = Object.keys(STEPS) as (keyof typeof STEPS)[];
const walks = fc.array(fc.constantFrom(...names, 'deliver' as const, 'deliver' as const, 'ack' as const), {
  minLength: 20,
  maxLength: 120,
});

describe('the states of a task', () => {
  it('have no illegal step, wherever its producer, scheduler, worker, canceller or redriver dies', async () => {
    const steps = new Set<string>();
    await fc.assert(
      fc.asyncProperty(walks, async (walk) => {
        const world = new World();
        STEPS.accept(world);
        let before = await world.seen();
        for (const name of walk) {
          STEPS[name](world);
          const after = await world.seen();
          const step = `${before.state} -> ${after.state}`;
          if (after.state !== before.state) expect(LEGAL[before.state], `${step} by ${name}`).toContain(after.state);
          expect(after.hop, `hop after ${name}`).toBeGreaterThanOrEqual(before.hop);
          if (isFinal(before.state as TaskState) && !isFinal(after.state as TaskState)) expect(after.hop, step).toBeGreaterThan(before.hop);
          steps.add(step);
          before = after;
        }
      }),
      { numRuns: 400 },
    );
    const reached = new Set([...steps].map((step) => step.split(' -> ')[1]));
    expect(Object.keys(LEGAL).filter((state) => state !== 'none' && !reached.has(state))).toEqual([]);
  });
});
