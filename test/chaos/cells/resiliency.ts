import { consumerState, type Puller } from '@jetlane/jetstream';
import type { Frame } from '../../support/link-proxy.js';
import { type Cell, type Problem, problem } from '../cell.js';
import type { Copy } from '../copies.js';
import type { Ledger } from '../ledger.js';
import type { Scene } from '../scene.js';

/** A tenth of the load, at most 200 a second, goes to a queue whose worker hands everything back. */
const doomed = ({ rate }: Scene['load']) => [{ every: Math.max(10, Math.round(rate / 200)), at: 3, doomed: true }] as const;

const before = new WeakMap<Scene, { letters: number; careless: Puller[] }>();

/** A stranger's worker: hands back whatever it gets, until the server gives it up. Notes how many dead letters there were. */
async function carelessWorker(scene: Scene): Promise<void> {
  const { connection } = scene.site;
  const { streams } = await connection.admin();
  const letters = (await streams.info(connection.names.deadLetters)).state.last_seq;
  const puller: Puller = connection.puller({
    ...scene.doomedLane,
    onDelivery: (delivery) => {
      connection.nak(delivery);
      setImmediate(pull);
    },
    onEnd: () => void setTimeout(pull, 100).unref(),
  });
  const pull = () => {
    if (puller.open < 64) puller.pull(256, 'wait');
  };
  puller.start(connection.epoch);
  pull();
  before.set(scene, { letters, careless: [puller] });
}

/** The server has given up all that came. */
async function exhausted(scene: Scene): Promise<boolean> {
  const state = await consumerState(scene.site.connection, scene.doomedLane.stream, scene.doomedLane.consumer);
  return state?.pending === 0 && state.ackPending === 0;
}

/** Each doomed task has one dead letter: not none, which is lost or stuck, and not two. */
async function oneLetterEach(scene: Scene, ledger: Ledger): Promise<Problem[]> {
  const { letters, careless } = before.get(scene)!;
  for (const puller of careless) puller.stop();
  const { connection } = scene.site;
  const { streams } = await connection.admin();
  const stored = (await streams.info(connection.names.deadLetters)).state.last_seq - letters;
  const doomedTasks = [...ledger.confirmed.values()].filter(({ dead }) => dead).length;
  return problem('letters', stored - doomedTasks, `${stored} dead letters for ${doomedTasks} tasks`);
}

/** Nobody hears the server when it gives tasks up, and what it said is gone when somebody could. */
export const advisoriesMissed: Cell = {
  name: 'advisories-missed',
  breaks: 'resiliency is down while tasks exhaust their deliveries, and the advisories are lost',
  alone: true,
  mix: doomed,
  faultAt: 0.2,
  withoutResiliency: true,
  before: carelessWorker,
  fault: async (scene) => {
    const { connection } = scene.site;
    const { streams } = await connection.admin();
    await scene.mark();
    await scene.producer.done();
    await scene.until(() => exhausted(scene), 180_000);
    await streams.purge(connection.names.advisories);
    await scene.startResiliency();
  },
  // No worker and no link is hit.
  bound: () => 0,
  judge: oneLetterEach,
  controls: [{ without: 'a sweep looks for what no advisory told', shows: 'stuck', resiliency: ['sweeper'] }],
};

/** What resiliency says on its way through a move, in its order. */
const SAYS = {
  'dead letter': ({ subject }: Frame) => subject.startsWith('chaos.dead.'),
  record: ({ subject }: Frame) => subject.startsWith('chaos.states.'),
  delete: ({ subject }: Frame) => subject.startsWith('$JS.API.STREAM.MSG.DELETE.chaos_tasks_'),
  ack: ({ subject, body }: Frame) => subject.startsWith('$JS.ACK.chaos_advisories.') && body.toString('latin1') === '+ACK',
} as const;

type Step = readonly [when: 'before' | 'after', what: keyof typeof SAYS];
const STEPS: readonly Step[] = (['dead letter', 'record', 'delete', 'ack'] as const).flatMap((what): Step[] => [
  ['before', what],
  ['after', what],
]);

/** Kills a copy of resiliency at its next step of this kind. Resolves when it is dead. */
function killAt(copy: Copy, [when, what]: Step): Promise<void> {
  const { proxy } = copy;
  return new Promise((resolve) => {
    let dying = false;
    const die = () => {
      dying = true;
      void copy.kill().then(() => {
        proxy.fromClient = undefined;
        proxy.afterClient = undefined;
        resolve();
      });
    };
    // From here on nothing goes out, as if the process had died within the step.
    proxy.fromClient = (frame) => {
      if (!dying && when === 'before' && SAYS[what](frame)) die();
      return !dying;
    };
    proxy.afterClient = (frame) => {
      if (!dying && when === 'after' && SAYS[what](frame)) die();
    };
  });
}

const STEP_MS = 60_000;
/** Steps that did not come about. */
const missed = new WeakMap<Scene, number>();

export const resiliencyKilled: Cell = {
  name: 'resiliency-killed',
  breaks: 'SIGKILL of resiliency before and after every step of a move, both copies in turn',
  alone: true,
  mix: doomed,
  faultAt: 0.2,
  before: carelessWorker,
  fault: async (scene) => {
    await scene.mark();
    let kills = 0;
    const more = setInterval(() => scene.producer.more(4, { doomed: true }), 200);
    for (const [i, step] of STEPS.entries()) {
      const copy = scene.copies[i % 2]!;
      let killed = false;
      void killAt(copy, step).then(() => {
        killed = true;
      });
      if (!(await scene.until(() => killed, STEP_MS))) break;
      kills++;
      await copy.back();
    }
    clearInterval(more);
    missed.set(scene, STEPS.length - kills);
  },
  // No worker and no link is hit.
  bound: () => 0,
  judge: async (scene, ledger) => [
    ...(await oneLetterEach(scene, ledger)),
    ...problem('fault', missed.get(scene)!, 'steps at which nothing was killed'),
  ],
  controls: [
    {
      without: 'an advisory is acknowledged after the move, and a sweep finds the rest',
      shows: 'stuck',
      resiliency: ['ack-last', 'sweeper'],
    },
  ],
};
