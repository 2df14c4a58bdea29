import type { Connection } from '@jetlane/jetstream';
import { FatalError } from '@jetlane/protocol';
import { type BatchItem, Cancelled, RetryLater } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('crash');
  await site.schedule();
});
afterAll(() => site.close());

/** A point of a settlement at which the worker dies: before or after its publish to a stream, or in place of its ack. */
type Step = `${'before' | 'after'} ${'states' | 'schedules' | 'dead'}` | 'before ack';

/** Lets a worker's link break at a step, as the death of its process does: nothing is sent from then on. */
function dieAt(connection: Connection, step: Step): { readonly died: () => boolean } {
  let dead = false;
  const die = (): void => {
    dead = true;
    void connection.raw().close();
  };
  const [when, stream] = step.split(' ') as [string, string];
  const { publisher } = connection;
  const post = publisher.post.bind(publisher);
  const at = (subject: string) => subject.startsWith(connection.names.pattern(`${stream}.`));
  publisher.post = (publication) => {
    if (dead) return;
    if (at(publication.subject)) {
      if (when === 'before') return die();
      publication.confirmed = die;
    }
    post(publication);
  };
  const ack = connection.ack.bind(connection);
  connection.ack = (delivery) => {
    if (step === 'before ack') die();
    return dead || ack(delivery);
  };
  return { died: () => dead };
}

const outcomes = {
  completed: () => 'done',
  retry: () => {
    throw new RetryLater('1h');
  },
  'retry at once': () => {
    throw new RetryLater(1);
  },
  dead: () => {
    throw new FatalError('never');
  },
  cancelled: () => {
    throw new Cancelled('unwanted');
  },
};

/** One worker dies at the step; a second one gets the task when the lease has run out. */
async function crash(outcome: keyof typeof outcomes, step: Step, second: () => unknown = outcomes[outcome]) {
  const queue = site.queueName();
  const runs: string[] = [];
  const link = await site.installation.link();
  const first = async () => {
    runs.push('first');
    return outcomes[outcome]();
  };
  await site.worker({ queue, name: 'first', handlers: { t: first }, definition: { lease: SHORT_LEASE } }, link);
  const { died } = dieAt(link, step);
  await site.task(queue, 'k', 't', { payload: true });
  await eventually('the first worker died', died);
  const heir = await site.worker({
    queue,
    name: 'heir',
    handlers: {
      t: async () => {
        runs.push('heir');
        return second();
      },
    },
  });
  const outcomesOfHeir: string[] = [];
  for (const event of ['task:completed', 'task:failed', 'task:dead', 'task:cancelled'] as const)
    heir.on(event, () => outcomesOfHeir.push(event));
  const { stream } = site.connection.names.lane(queue, 'normal');
  await eventually('the lane is empty', async () => (await site.installation.messages(stream)) === 0);
  const { copies } = await site.installation.store.traces(queue, 'k');
  return {
    queue,
    runs,
    heard: outcomesOfHeir,
    record: await site.record(queue, 'k'),
    places: copies.map(({ place, hop }) => `${place} ${hop}`),
    letter: await site.letter(queue, 'k'),
  };
}

describe.concurrent('completed', () => {
  it('before the record: the task runs again', async () => {
    const { runs, record } = await crash('completed', 'before states', () => 'again');
    expect(runs).toEqual(['first', 'heir']);
    expect(record).toMatchObject({ state: 'completed', result: 'again', worker: 'heir', hop: 1, attempt: 1 });
  });

  it.each(['after states', 'before ack'] as const)('%s: the record stands, the redelivery is only acknowledged', async (step) => {
    const { runs, record, heard } = await crash('completed', step, () => 'again');
    expect(runs).toEqual(['first']);
    expect(record).toMatchObject({ state: 'completed', result: 'done', worker: 'first' });
    expect(record).not.toHaveProperty('crashes');
    expect(heard).toEqual([]);
  });
});

describe.concurrent('retry', () => {
  it('before the timer: the attempt is repeated', async () => {
    const { runs, places } = await crash('retry', 'before schedules');
    expect(runs).toEqual(['first', 'heir']);
    expect(places).toEqual(['timer 2']);
  });

  it.each(['after schedules', 'before ack'] as const)('%s: the timer stands, the redelivery is only acknowledged', async (step) => {
    const { runs, places } = await crash('retry', step);
    expect(runs).toEqual(['first']);
    expect(places).toEqual(['timer 2']);
  });

  it('after a timer that has fired and was worked off by the time of the redelivery', async () => {
    const { runs, record, places } = await crash('retry at once', 'after schedules', () => 'second hop');
    expect(runs).toEqual(['first', 'heir']);
    expect(record).toMatchObject({ hop: 2, attempt: 2, state: 'completed', result: 'second hop' });
    expect(places).toEqual([]);
  });
});

describe.concurrent('dead', () => {
  it('before the dead letter: the task runs again', async () => {
    const { runs, record, letter } = await crash('dead', 'before dead');
    expect(runs).toEqual(['first', 'heir']);
    expect(record).toMatchObject({ state: 'dead', worker: 'heir' });
    expect(letter).toMatchObject({ reason: 'fatal', hop: 1 });
    expect(letter!.history).toHaveLength(1);
  });

  it.each(['after dead', 'before states'] as const)('%s: the dead letter stands, the redelivery is only acknowledged', async (step) => {
    const { runs, record, letter } = await crash('dead', step);
    expect(runs).toEqual(['first']);
    expect(record).toBeUndefined();
    expect(letter).toMatchObject({ reason: 'fatal', history: [{ worker: 'first' }] });
    expect(Buffer.from(letter!.data).toString()).toBe('{"payload":true}');
  });

  it.each(['after states', 'before ack'] as const)('%s: both stand', async (step) => {
    const { runs, record, letter } = await crash('dead', step);
    expect(runs).toEqual(['first']);
    expect(record).toMatchObject({ state: 'dead', worker: 'first' });
    expect(letter).toMatchObject({ history: [{ worker: 'first' }] });
  });
});

describe.concurrent('cancelled', () => {
  it('before the record: the task runs again', async () => {
    const { runs, record } = await crash('cancelled', 'before states');
    expect(runs).toEqual(['first', 'heir']);
    expect(record).toMatchObject({ state: 'cancelled', worker: 'heir', reason: 'unwanted' });
  });

  it.each(['after states', 'before ack'] as const)('%s: the record stands, the redelivery is only acknowledged', async (step) => {
    const { runs, record } = await crash('cancelled', step);
    expect(runs).toEqual(['first']);
    expect(record).toMatchObject({ state: 'cancelled', worker: 'first' });
  });
});

describe.concurrent('a batch', () => {
  it.each([
    ['before states', ['first', 'heir']],
    ['after states', ['first']],
    ['before ack', ['first']],
  ] as const)('%s: items without a record run again, the others are only acknowledged', async (step, by) => {
    const queue = site.queueName();
    const runs = new Map<string, string[]>();
    const handler = (name: string) => ({
      size: 4,
      maxWait: '5s',
      handleBatch: (items: readonly BatchItem<unknown>[]) =>
        items.map(({ context: { key } }) => {
          runs.set(key, [...(runs.get(key) ?? []), name]);
          return { success: true as const, result: name };
        }),
    });
    const link = await site.installation.link();
    await site.worker({ queue, name: 'first', handlers: { t: handler('first') }, definition: { lease: SHORT_LEASE } }, link);
    const { died } = dieAt(link, step);
    const keys = ['a', 'b', 'c', 'd'];
    await Promise.all(keys.map((key) => site.task(queue, key, 't')));
    await eventually('the first worker died', died);
    await site.worker({ queue, name: 'heir', handlers: { t: handler('heir') } });
    await site.drained(queue);
    for (const key of keys) {
      expect(runs.get(key), key).toEqual(by);
      expect(await site.record(queue, key)).toMatchObject({ state: 'completed', result: by.at(-1), worker: by.at(-1), hop: 1, attempt: 1 });
    }
  });
});
