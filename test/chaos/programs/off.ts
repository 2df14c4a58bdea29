import type { Connection, Publication, Puller } from '@jetlane/jetstream';
import type { Worker } from '@jetlane/worker';

/**
 * Protections of the product, each with the way to switch it off from outside: the objects of the library are changed
 * inside the process of a test. Whoever moves what is changed here is told by an error, since a protection that is still
 * on would let the control run pass.
 */

/** The part of an object that this file changes though its type hides it. */
function inside<T extends object>(object: object, ...path: string[]): T {
  let found: unknown = object;
  for (const name of path) found = typeof found === 'object' && found !== null ? Reflect.get(found, name) : undefined;
  if (typeof found !== 'object' || found === null)
    throw new Error(`there is no ${path.join('.')} to switch off any more; adapt test/chaos`);
  return found as T;
}

/** Replaces a method that must exist. */
function replace(object: object, name: string, by: (...args: never[]) => unknown): void {
  if (typeof Reflect.get(object, name) !== 'function') throw new Error(`there is no ${name}() to switch off any more; adapt test/chaos`);
  Reflect.set(object, name, by);
}

/** What is sent is taken for stored, and nothing is sent again: not after a reconnect, not after a refusal, not after silence. */
export function switchOffInProducer(connection: Connection, off: readonly string[]): void {
  if (!off.includes('puback')) return;
  const { publisher } = connection;
  const post = publisher.post.bind(publisher);
  replace(publisher, 'post', (publication: Publication) => {
    post(publication);
    publication.confirmed({ seq: 1 });
    publication.confirmed = () => undefined;
    publication.refused = () => undefined;
  });
  // A batch that fails goes one by one: here all goes one by one from the start.
  replace(connection, 'bulkStream', () => ({ post: (publication: Publication) => publisher.post(publication) }));
  replace(publisher, 'sweep', () => undefined);
  replace(publisher, 'linkUp', () => Reflect.set(publisher, 'connected', true));
}

export function switchOffInConnection(connection: Connection, off: ReadonlySet<string>): void {
  if (off.has('ack-last')) ackFirst(connection);
  if (off.has('retry-stored')) dropTimers(connection);
  if (off.has('re-pull')) pullNoMore(connection);
}

/** Every delivery is acknowledged when it comes. */
function ackFirst(connection: Connection): void {
  const puller = connection.puller.bind(connection);
  const ack = connection.ack.bind(connection);
  connection.puller = (options) =>
    puller({
      ...options,
      onDelivery: (delivery) => {
        ack(delivery);
        options.onDelivery(delivery);
      },
    });
  connection.ack = () => true;
}

/** Timers are taken for stored as soon as they are asked for. */
function dropTimers({ publisher, names }: Connection): void {
  const post = publisher.post.bind(publisher);
  replace(publisher, 'post', (publication: Publication) => {
    if (publication.subject.startsWith(names.pattern('schedules.'))) publication.confirmed({ seq: 1 });
    else post(publication);
  });
}

/** A pull that ended in another way than by being empty, or with its link, is not followed by another. */
function pullNoMore(connection: Connection): void {
  const make = connection.puller.bind(connection);
  connection.puller = (options) => {
    let ended = false;
    const puller: Puller = make({
      ...options,
      onEnd: (end) => {
        ended ||= end.code !== 404 && end.code !== 408;
        options.onEnd(end);
      },
    });
    const pull = puller.pull.bind(puller);
    connection.onState((state) => {
      ended ||= state !== 'connected';
    });
    puller.pull = (batch, mode) => (ended ? true : pull(batch, mode));
    return puller;
  };
}

export async function switchOffInWorker(worker: Worker, connection: Connection, off: ReadonlySet<string>): Promise<void> {
  if (off.has('lease-check')) replace(inside(worker, 'engine', 'leases'), 'lost', () => false);
  if (off.has('renewal')) replace(inside(worker, 'engine', 'leases'), 'renew', async () => undefined);
  if (off.has('reprovisioning')) {
    const admin = connection.admin.bind(connection);
    // The library has one for each patience.
    replace(connection, 'admin', async (...patience: Parameters<typeof admin>) => {
      const manager = await admin(...patience);
      replace(manager.consumers, 'add', () => Promise.reject(new Error('not allowed')));
      return manager;
    });
  }
  if (off.has('server-clock')) replace(connection.clock, 'toServer', async (at: number) => at);
}
