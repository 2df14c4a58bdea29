import { setTimeout as sleep } from 'node:timers/promises';
import type { Frame } from '../../support/link-proxy.js';
import { type Cell, problem } from '../cell.js';
import { busiestSecond } from '../ledger.js';
import type { Scene } from '../scene.js';
import type { Load } from '../setting.js';
import { SURPLUS } from './bounds.js';

/** As many as a small load can fill, and at most 500, per worker. */
const IN_HAND = 500;
const inHand = ({ rate, seconds }: Load): number => Math.min(IN_HAND, Math.round((rate * seconds) / 4));

/** Long enough that both workers have all slots taken. */
const saturating = (load: Load): number => Math.round((1200 * 2 * inHand(load)) / load.rate);

const FILLING_MS = 3000;

/** A worker process dies in the middle of its work. */
export const workerKilled: Cell = {
  name: 'worker-killed',
  breaks: 'SIGKILL of a worker with 500 tasks in hand',
  concurrency: inHand,
  workMs: saturating,
  fault: async (scene) => {
    const worker = scene.worker('w1');
    // Where the machine gives less than was asked for, the load alone fills no slots.
    scene.producer.more(2 * scene.concurrency, { ms: FILLING_MS });
    await scene.until(async () => (await worker.held()) >= scene.concurrency);
    await scene.mark(worker);
    worker.kill('SIGKILL');
    await worker.exited;
    await scene.startWorker('w3');
  },
  judge: ({ faults, concurrency }) => problem('fault', concurrency - faults[0]!.held, `only ${faults[0]!.held} tasks were in hand`),
  controls: [{ without: 'the ack comes after the run', shows: 'lost', worker: ['ack-last'] }],
};

/**
 * Listens on the link of the workers. A word about a delivery is late when the delivery came, or was renewed, longer ago than
 * its lease lasts; half a lease is added for the way.
 */
class Overheard {
  /** Last sign of each delivery that is in hand, by its reply subject. */
  private readonly signs = new Map<string, number>();
  late = 0;

  constructor(private readonly leaseMs: number) {}

  delivered({ reply }: Frame): void {
    if (reply.startsWith('$JS.ACK.')) this.signs.set(reply, performance.now());
  }

  said({ subject, body }: Frame): void {
    const sign = this.signs.get(subject);
    if (sign === undefined) return;
    const now = performance.now();
    if (now - sign > 1.5 * this.leaseMs) this.late++;
    else if (body.toString('latin1') === '+WPI') {
      this.signs.set(subject, now);
      return;
    }
    this.signs.delete(subject);
  }
}

const overheard = new WeakMap<Scene, Overheard>();

function listen(scene: Scene): void {
  const heard = new Overheard(scene.load.leaseMs);
  overheard.set(scene, heard);
  scene.frames!.fromServer = (frame) => heard.delivered(frame);
  scene.frames!.fromClient = (frame) => heard.said(frame);
}

const lateWords: NonNullable<Cell['judge']> = (scene) => {
  const { late } = overheard.get(scene)!;
  return problem('late', late, `${late} words about tasks that were in other hands`);
};

/** A worker stands still and goes on as if nothing had happened. */
export const workerStopped: Cell = {
  name: 'worker-stopped',
  breaks: 'SIGSTOP of a worker for longer than its lease, then SIGCONT',
  link: 'frames',
  before: listen,
  workMs: () => 100,
  fault: async (scene) => {
    const worker = scene.worker('w1');
    await scene.mark(worker);
    worker.stop();
    await sleep(scene.load.leaseMs * 2.5);
    worker.kill('SIGCONT');
  },
  judge: lateWords,
  controls: [{ without: 'a worker knows when its lease has run out', shows: 'late', worker: ['lease-check'] }],
};

/** Handlers that run longer than the lease are no fault; whoever renews no lease makes one of them. */
export const longRuns: Cell = {
  name: 'long-runs',
  breaks: 'handlers that run twice as long as the lease',
  mix: ({ rate, leaseMs }) => [{ every: Math.max(20, Math.round(rate / 5)), at: 1, data: { ms: 2 * leaseMs } }],
  fault: (scene) => scene.mark(),
  bound: () => 0,
  controls: [{ without: 'leases are renewed', shows: 'duplicates', worker: ['renewal'] }],
};

/** A handler keeps the event loop busy: nothing else happens in its process, not even the renewal of leases. */
export const handlerBlocks: Cell = {
  name: 'handler-blocks',
  breaks: 'a handler that blocks the event loop for twice the lease',
  link: 'frames',
  before: listen,
  workMs: () => 100,
  mix: ({ rate, seconds, leaseMs }) => [
    { every: 1, at: Math.round(rate * seconds * 0.5), once: true, data: { does: 'block', blockMs: 2 * leaseMs } },
  ],
  // It comes with the load: see the mix.
  fault: (scene) => scene.mark(),
  bound: ({ concurrency }, ledger) => concurrency + SURPLUS + busiestSecond(ledger),
  judge: lateWords,
  controls: [{ without: 'a worker knows when its lease has run out', shows: 'late', worker: ['lease-check'] }],
};
