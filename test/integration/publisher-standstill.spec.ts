import { type Connection, type PubAck, Publication } from '@jetlane/jetstream';
import { encodeHeaders } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes, makeStream, storedSubjects } from '../support/broker.js';
import { eventually, holdsFor } from '../support/wait-until.js';

const REPEAT_MS = 300;

let broker: Broker;

beforeAll(async () => {
  broker = await Broker.start('still');
});
afterAll(() => broker.stop());

/** Keeps what it is told. */
class Told extends Publication {
  readonly heard: (PubAck | Error)[] = [];

  confirmed(ack: PubAck): void {
    this.heard.push(ack);
  }

  refused(error: Error): void {
    this.heard.push(error);
  }
}

const text = (id: string) => new TextDecoder().decode(encodeHeaders([['Nats-Msg-Id', id]]));
const messages = (stream: string) => Array.from({ length: 20 }, (_, i) => new Told(`${stream}.${i}`, 'x', text(`${stream}${i}`)));
const allHeard = (told: Told[]) => eventually('all have heard', () => told.every(({ heard }) => heard.length > 0));

/** This process runs nothing. */
const standStill = (ms: number): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** A link whose messages are remembered for a short time only, and whose batches are given up after a second. */
async function forgetful(): Promise<Connection> {
  const link = await broker.connect({ publishTimeoutMs: 1000 });
  Object.assign(link.publisher, { options: { window: 64, timeoutMs: 60_000, maxWaiting: 64, repeatMs: REPEAT_MS } });
  return link;
}

describe('a process that stood still', () => {
  it('for longer than its stream remembers ids reads first that a batch is stored, and stores nothing twice', async () => {
    const link = await broker.connect({ publishTimeoutMs: 2000 });
    await makeStream(link, 'batch', ['batch.*'], { allow_batched: true, duplicate_window: 1e9 });
    broker.server.kill('SIGSTOP');
    const told = messages('batch');
    for (const one of told) link.bulkStream('batch').post(one);
    // Timers come behind immediates, and before anything is read again.
    const sleep = () => {
      broker.server.kill('SIGCONT');
      standStill(3000);
    };
    setTimeout(() => setImmediate(sleep), 60);
    await allHeard(told);
    expect(told.map(({ heard }) => heard)).toEqual(told.map(() => [{ seq: 20 }]));
    expect(Object.values(await storedSubjects(link, 'batch'))).toEqual(Array(20).fill(1));
  });

  it('again in every turn gives up all the same what nobody takes', async () => {
    const link = await broker.connect({ publishTimeoutMs: 1500 });
    let ended: unknown;
    const publish = link.publish('nobody', bytes('x')).catch((error: unknown) => {
      ended = error;
    });
    for (let turn = 0; turn < 5 && !ended; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      standStill(1100);
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toMatchObject({ code: 'no-responders' });
    await publish;
  });
});

describe('what may be stored for so long that its id is forgotten', () => {
  it('is not sent again, one by one or from a batch: its outcome is unknown', async () => {
    const link = await forgetful();
    await makeStream(link, 'old', ['old.*'], { allow_batched: true, duplicate_window: 1e8 });
    broker.server.kill('SIGSTOP');
    const [single, ...told] = messages('old');
    try {
      link.publisher.post(single!);
      for (const one of told) link.bulkStream('old').post(one);
      await allHeard(told);
      // As when the link is new.
      link.publisher.linkDown();
      link.publisher.linkUp();
    } finally {
      broker.server.kill('SIGCONT');
    }
    const message = expect.stringMatching(/may be stored, and is not sent again/);
    for (const { heard } of [single!, ...told]) expect(heard).toMatchObject([{ code: 'publish-timeout', retryable: true, message }]);
    await eventually('all are stored', async () => Object.keys(await storedSubjects(link, 'old')).length === 20);
    await link.flush();
    expect(Object.values(await storedSubjects(link, 'old'))).toEqual(Array(20).fill(1));
  });

  it('is sent again when it was refused each time, or never sent', async () => {
    const link = await forgetful();
    const { publisher } = link;
    const refused = publisher.publish('later.refused', bytes('x'), text('refused'));
    await holdsFor('it is kept', 2 * REPEAT_MS, () => publisher.pending === 1);
    publisher.linkDown();
    const unsent = publisher.publish('later.unsent', bytes('x'), text('unsent'));
    await holdsFor('both are kept', 2 * REPEAT_MS, () => publisher.pending === 2);
    await makeStream(link, 'later', ['later.*']);
    publisher.linkUp();
    expect(await Promise.all([refused, unsent])).toHaveLength(2);
    expect(await storedSubjects(link, 'later')).toEqual({ 'later.refused': 1, 'later.unsent': 1 });
  });
});
