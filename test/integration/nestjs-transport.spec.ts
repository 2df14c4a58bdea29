import {
  JetStreamClient,
  type JetStreamClientOptions,
  JetStreamContext,
  JetStreamRecord,
  JetStreamServer,
  type JetStreamServerOptions,
  listDeadEvents,
  redriveDeadEvents,
} from '@jetlane/nestjs/transport';
import { FatalError, JetlaneError } from '@jetlane/protocol';
import { BadRequestException, type CanActivate, Controller, type INestMicroservice, type Type, UseGuards } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { BaseRpcExceptionFilter } from '@nestjs/microservices/exceptions/base-rpc-exception-filter.js';
import { Test } from '@nestjs/testing';
import { firstValueFrom, lastValueFrom, of } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { eventually, Installation } from './services-fixture.js';
import { deferred } from './worker-fixture.js';

let site: Installation;
let client: JetStreamClient;
const services: INestMicroservice[] = [];

const link = () => ({ servers: site.server.url, namespace: 'transport' });
const open = (options: Partial<JetStreamClientOptions> = {}) => new JetStreamClient({ ...link(), ...options });

/** A running service of these controllers. */
async function serve(service: string, controllers: Type[], options: Partial<JetStreamServerOptions> = {}): Promise<INestMicroservice> {
  const module = await Test.createTestingModule({ controllers }).compile();
  const strategy = new JetStreamServer({ ...link(), service, retry: { attempts: 3, initialDelay: 1, maxDelay: 20 }, ...options });
  const app = module.createNestMicroservice({ strategy, logger: false });
  await app.listen();
  services.push(app);
  return app;
}

const strategyOf = (app: INestMicroservice) => (app as unknown as { serverInstance: JetStreamServer }).serverInstance;
const emit = (pattern: string, data: unknown) => lastValueFrom(client.emit(pattern, data));
const ask = (pattern: string, data: unknown, via = client) => firstValueFrom(via.send<unknown>(pattern, data));

beforeAll(async () => {
  site = await Installation.open('transport');
  client = open();
  await client.connect();
});
afterAll(async () => {
  await Promise.all(services.map((app) => app.close()));
  await client.close();
  await site.close();
});

describe('an event', () => {
  it('is stored when emit completes, and waits for a service that is away', async () => {
    const seen: unknown[] = [];
    @Controller()
    class Orders {
      @EventPattern<string>('orders.created')
      created(@Payload() data: unknown, @Ctx() context: JetStreamContext) {
        seen.push([data, context.getSubject(), context.getAttempt(), context.getHeader('Tenant')]);
      }
    }
    const first = await serve('billing', [Orders]);
    await emit('orders.created', { id: 1 });
    await eventually('the first is seen', () => seen.length === 1);
    await first.close();
    const ack = await emit('orders.created', new JetStreamRecord({ id: 2 }, { id: 'order-2', headers: { Tenant: 'acme' } }));
    expect(ack).toMatchObject({ stream: 'transport_events' });
    expect(await emit('orders.created', new JetStreamRecord({ id: 2 }, { id: 'order-2' }))).toMatchObject({ duplicate: true });
    await serve('billing', [Orders]);
    await eventually('the second is seen', () => seen.length === 2);
    expect(seen).toEqual([
      [{ id: 1 }, 'orders.created', 1, undefined],
      [{ id: 2 }, 'orders.created', 1, 'acme'],
    ]);
  });

  it('reaches every service that reads it once, by exact name and by wildcards', async () => {
    const seen: string[] = [];
    @Controller()
    class Search {
      @EventPattern<string>('shop.*.created')
      any(@Ctx() context: JetStreamContext) {
        seen.push(`search * ${context.getSubject()}`);
      }

      @EventPattern<string>('shop.>')
      all(@Ctx() context: JetStreamContext) {
        seen.push(`search > ${context.getSubject()}`);
      }
    }
    @Controller()
    class Mail {
      @EventPattern<string>('shop.user.created')
      created() {
        seen.push('mail');
        return of('an observable is waited for');
      }
    }
    await Promise.all([serve('search', [Search]), serve('search', [Search]), serve('mail', [Mail])]);
    await emit('shop.user.created', {});
    await emit('shop.user.deleted.now', {});
    await eventually('all have seen it', () => seen.length >= 4);
    expect(seen.sort()).toEqual(['mail', 'search * shop.user.created', 'search > shop.user.created', 'search > shop.user.deleted.now']);
  });

  it('goes to every process of a service when its handler says broadcast', async () => {
    const seen: string[] = [];
    const process = (name: string) => {
      @Controller()
      class Cache {
        @EventPattern<string>('cache.clear', { broadcast: true })
        clear(@Payload() key: string) {
          seen.push(`${name} ${key}`);
        }
      }
      return serve('front', [Cache]);
    };
    const [one] = await Promise.all([process('one'), process('two')]);
    await emit('cache.clear', 'a');
    await eventually('both have seen it', () => seen.length === 2);
    await one.close();
    await emit('cache.clear', 'b');
    await eventually('the other one sees the next', () => seen.length === 3);
    expect(seen.sort()).toEqual(['one a', 'two a', 'two b']);
  });

  it('begins with what is still stored when its reader is told so', async () => {
    await emit('history.made', 1);
    await emit('history.made', 2);
    const seen = { all: [] as unknown[], fresh: [] as unknown[] };
    const reader = (into: unknown[], from: 'all' | 'new') => {
      @Controller()
      class Reader {
        @EventPattern<string>('history.made', { from })
        made(@Payload() data: unknown) {
          into.push(data);
        }
      }
      return serve(`reader-${from}`, [Reader]);
    };
    await Promise.all([reader(seen.all, 'all'), reader(seen.fresh, 'new')]);
    await emit('history.made', 3);
    await eventually('both have read', () => seen.all.length === 3 && seen.fresh.length === 1);
    expect(seen).toEqual({ all: [1, 2, 3], fresh: [3] });
  });

  it('is retried, keeps what is given up with its error, and is redriven to its reader alone', async () => {
    const attempts: string[] = [];
    let broken = true;
    @Controller()
    class Fragile {
      @EventPattern<string>('fragile.later')
      later(@Ctx() context: JetStreamContext) {
        attempts.push(`later ${context.getAttempt()}`);
        if (context.getAttempt() < 3) throw new Error('not yet');
      }

      @EventPattern<string>('fragile.never')
      never(@Payload() data: { n: number }, @Ctx() context: JetStreamContext) {
        attempts.push(`never ${context.getAttempt()} ${context.getSubject()} ${data.n}`);
        if (broken) throw new TypeError('no ünïcode today');
      }

      @EventPattern<string>('fragile.fatal')
      fatal() {
        attempts.push('fatal');
        throw new FatalError('this can never work');
      }

      @EventPattern<string>('fragile.invalid')
      invalid() {
        attempts.push('invalid');
        throw new BadRequestException(['n is missing']);
      }
    }
    @Controller()
    class Bystander {
      @EventPattern<string>('fragile.never')
      never() {
        attempts.push('bystander');
      }
    }
    await Promise.all([serve('fragile', [Fragile]), serve('bystander', [Bystander])]);
    await emit('fragile.later', {});
    await emit('fragile.never', { n: 7 });
    await emit('fragile.fatal', {});
    await emit('fragile.invalid', {});
    await eventually('three are dead', async () => (await listDeadEvents(site.connection)).length === 3);
    await eventually('one made it', () => attempts.includes('later 3'));
    const never = [1, 2, 3].map((n) => `never ${n} fragile.never 7`);
    expect([...attempts].sort()).toEqual(['bystander', 'fatal', 'invalid', 'later 1', 'later 2', 'later 3', ...never].sort());
    const dead = await listDeadEvents(site.connection);
    const byName = Object.fromEntries(dead.map((event) => [event.subject, event]));
    expect(byName['fragile.never']).toMatchObject({
      reason: 'attempts-exhausted',
      attempts: 3,
      error: { name: 'TypeError', message: 'no ünïcode today' },
    });
    expect(Buffer.from(byName['fragile.never']!.data).toString()).toBe('{"n":7}');
    expect(byName['fragile.fatal']).toMatchObject({ reason: 'fatal', attempts: 1 });
    expect(byName['fragile.invalid']).toMatchObject({ reason: 'payload-mismatch', error: { message: 'n is missing' } });

    broken = false;
    attempts.length = 0;
    expect(await redriveDeadEvents(site.connection, { reader: byName['fragile.never']!.reader })).toBe(1);
    await eventually('it is handled', () => attempts.length > 0);
    expect(attempts).toEqual(['never 1 fragile.never 7']);
    expect(await listDeadEvents(site.connection)).toHaveLength(2);
  });

  it('that ends its process again and again is dead as poison, without one more run', async () => {
    let runs = 0;
    @Controller()
    class Deadly {
      @EventPattern<string>('deadly', { retry: { attempts: 1 } })
      run() {
        runs++;
      }
    }
    const first = await serve('deadly', [Deadly]);
    const [{ reader } = { reader: '' }] = strategyOf(first).health();
    await first.close();
    await emit('deadly', {});
    let deliveries = 0;
    const puller = site.connection.puller({
      stream: site.connection.names.events,
      consumer: reader,
      onEnd: () => undefined,
      onDelivery: (delivery) => {
        deliveries = delivery.count;
        site.connection.nak(delivery);
      },
    });
    puller.start(site.connection.epoch);
    puller.pull(6, 'wait');
    await eventually('it was delivered six times', () => deliveries === 6);
    await puller.drain();
    puller.stop();
    await serve('deadly', [Deadly]);
    await eventually('it is dead', async () => (await listDeadEvents(site.connection, { reader })).length === 1);
    expect(await listDeadEvents(site.connection, { reader })).toMatchObject([{ reason: 'poison', attempts: 7 }]);
    expect(runs).toBe(0);
  });

  it('that no client of ours has sent is read too; what is no JSON is dead', async () => {
    const seen: unknown[] = [];
    @Controller()
    class Strange {
      @EventPattern<string>('strange.*')
      any(@Payload() data: unknown) {
        seen.push(data);
      }
    }
    await serve('strange', [Strange]);
    const before = (await listDeadEvents(site.connection)).length;
    await site.connection.publish(site.connection.names.event('strange.plain'), '{"a":1}');
    await site.connection.publish(site.connection.names.event('strange.empty'), '');
    await site.connection.publish(site.connection.names.event('strange.broken'), '{"a":');
    await eventually(
      'two are read, one is dead',
      async () => seen.length === 2 && (await listDeadEvents(site.connection)).length === before + 1,
    );
    expect((await listDeadEvents(site.connection)).at(-1)).toMatchObject({ subject: 'strange.broken', reason: 'undecodable-payload' });
    expect(seen).toEqual(expect.arrayContaining([{ a: 1 }, undefined]));
  });

  it.each(['', 'two words', 'a..b', 'a.*', '>', 'a.\n'])('cannot be called %j', async (pattern) => {
    expect(await rejection(emit(pattern, {}))).toMatchObject({ code: 'invalid-argument' });
  });
});

describe('a request', () => {
  it('is answered by one process of the service, within its pipeline', async () => {
    class Admins implements CanActivate {
      canActivate(context: { switchToRpc(): { getData<T>(): T } }) {
        return context.switchToRpc().getData<{ admin?: boolean }>().admin !== false;
      }
    }
    let calls = 0;
    @Controller()
    @UseGuards(Admins)
    class Maths {
      @MessagePattern('maths.sum')
      sum(@Payload() data: { numbers: number[] }) {
        calls++;
        return data.numbers.reduce((a, b) => a + b, 0);
      }

      @MessagePattern({ cmd: 'double' })
      async double(@Payload() data: { n: number }) {
        return { n: data.n * 2 };
      }

      @MessagePattern('maths.nothing')
      nothing() {
        return undefined;
      }

      @MessagePattern('maths.many')
      many() {
        return of(1, 2, 3);
      }
    }
    await Promise.all([serve('maths', [Maths]), serve('maths', [Maths])]);
    expect(await ask('maths.sum', { numbers: [1, 2, 3] })).toBe(6);
    expect(calls).toBe(1);
    expect(await firstValueFrom(client.send({ cmd: 'double' }, { n: 4 }))).toEqual({ n: 8 });
    expect(await ask('maths.nothing', {})).toBeNull();
    expect(await ask('maths.many', {})).toBe(3);
    expect(await rejection(ask('maths.sum', { admin: false }))).toMatchObject({ code: 'internal', message: 'Forbidden resource' });
  });

  it('fails with the error of the handler, not with a mask', async () => {
    @Controller()
    class Failing {
      @MessagePattern('fail.*')
      fail(@Payload() kind: string) {
        if (kind === 'typed') throw new JetlaneError('queue-full', 'no room', { details: { queue: 'q' } });
        if (kind === 'rpc') throw new RpcException({ code: 'out-of-stock', message: 'none left', sku: 7 });
        if (kind === 'big') return 'x'.repeat(9_000_000);
        throw new RangeError('plain');
      }
    }
    await serve('failing', [Failing]);
    const failure = (kind: string) => rejection(ask('fail.now', kind));
    expect(await failure('typed')).toMatchObject({
      code: 'queue-full',
      retryable: true,
      message: 'no room',
      details: { queue: 'q', name: 'JetlaneError' },
    });
    expect(await failure('rpc')).toMatchObject({ code: 'internal', message: 'none left', details: { code: 'out-of-stock', sku: 7 } });
    expect(await failure('plain')).toMatchObject({ code: 'internal', message: 'plain', details: { name: 'RangeError' } });
    expect(await failure('big')).toMatchObject({ code: 'payload-too-large' });
  });

  it('leaves the mask to whoever else uses it', async () => {
    class Probe extends BaseRpcExceptionFilter {
      override handleUnknownError(_: unknown, status: string) {
        return of({ status, masked: true }) as never;
      }
    }
    const answer = new Probe().catch(new Error('secret') as never, {} as never);
    expect(await firstValueFrom(answer)).toEqual({ status: 'error', masked: true });
  });

  it('that nobody answers fails by code: nobody there, or too slow', async () => {
    @Controller()
    class Slow {
      @MessagePattern('slow')
      slow() {
        return new Promise(() => undefined);
      }
    }
    await serve('slow', [Slow], { shutdownTimeout: 0 });
    expect(await rejection(ask('nobody.home', {}))).toMatchObject({ code: 'no-responders' });
    const hasty = open({ timeout: 150 });
    expect(await rejection(ask('slow', {}, hasty))).toMatchObject({ code: 'request-timeout' });
    await hasty.close();
  });
});

describe('a service that closes', () => {
  it('finishes the events and requests in hand, and takes no more', async () => {
    const started = { event: deferred(), request: deferred() };
    const go = deferred();
    const done: unknown[] = [];
    @Controller()
    class Busy {
      @EventPattern<string>('busy.event')
      async event(@Payload() data: unknown) {
        started.event.resolve();
        await go.promise;
        done.push(data);
      }

      @MessagePattern('busy.request')
      async request() {
        started.request.resolve();
        await go.promise;
        return 'answered';
      }
    }
    const app = await serve('busy', [Busy]);
    await emit('busy.event', 1);
    const answer = ask('busy.request', {});
    await Promise.all([started.event.promise, started.request.promise]);
    const closing = app.close();
    await eventually('it takes no more', async () => (await rejection(ask('busy.request', {}))).code === 'no-responders');
    await emit('busy.event', 2);
    go.resolve();
    expect(await answer).toBe('answered');
    await closing;
    expect(done).toEqual([1]);
    await serve('busy', [Busy]);
    await eventually('the next process goes on', () => done.length === 2);
    expect(done).toEqual([1, 2]);
  });

  it('and whose connection breaks goes on reading after it is back', async () => {
    const seen: unknown[] = [];
    @Controller()
    class Steady {
      @EventPattern<string>('steady')
      any(@Payload() data: unknown) {
        seen.push(data);
      }
    }
    const app = await serve('steady', [Steady]);
    await emit('steady', 'before');
    site.server.kill('SIGKILL');
    await site.server.exited;
    await site.server.start();
    await emit('steady', 'after');
    await eventually('the event after the crash is read', () => seen.includes('after'));
    expect(strategyOf(app).health()).toMatchObject([{ up: true }]);
  });
});
