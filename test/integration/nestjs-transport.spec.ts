import { JetStreamContext, JetStreamRecord, listDeadEvents, redriveDeadEvents } from '@jetlane/nestjs/transport';
import { FatalError } from '@jetlane/protocol';
import { BadRequestException, Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import { of } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { strategyOf, TransportSite } from './nestjs-transport-fixture.js';
import { eventually } from './services-fixture.js';

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport');
});
afterAll(() => site.close());

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
    const first = await site.serve('billing', [Orders]);
    await site.emit('orders.created', { id: 1 });
    await eventually('the first is seen', () => seen.length === 1);
    await first.close();
    const ack = await site.emit('orders.created', new JetStreamRecord({ id: 2 }, { id: 'order-2', headers: { Tenant: 'acme' } }));
    expect(ack).toEqual({ seq: expect.any(Number) });
    expect(await site.emit('orders.created', new JetStreamRecord({ id: 2 }, { id: 'order-2' }))).toMatchObject({ duplicate: true });
    await site.serve('billing', [Orders]);
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
    await Promise.all([site.serve('search', [Search]), site.serve('search', [Search]), site.serve('mail', [Mail])]);
    await site.emit('shop.user.created', {});
    await site.emit('shop.user.deleted.now', {});
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
      return site.serve('front', [Cache]);
    };
    const [one] = await Promise.all([process('one'), process('two')]);
    await site.emit('cache.clear', 'a');
    await eventually('both have seen it', () => seen.length === 2);
    await one.close();
    await site.emit('cache.clear', 'b');
    await eventually('the other one sees the next', () => seen.length === 3);
    expect(seen.sort()).toEqual(['one a', 'two a', 'two b']);
  });

  it('begins with what is still stored when its reader is told so', async () => {
    await site.emit('history.made', 1);
    await site.emit('history.made', 2);
    const seen = { all: [] as unknown[], fresh: [] as unknown[] };
    const reader = (into: unknown[], from: 'all' | 'new') => {
      @Controller()
      class Reader {
        @EventPattern<string>('history.made', { from })
        made(@Payload() data: unknown) {
          into.push(data);
        }
      }
      return site.serve(`reader-${from}`, [Reader]);
    };
    await Promise.all([reader(seen.all, 'all'), reader(seen.fresh, 'new')]);
    await site.emit('history.made', 3);
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
    await Promise.all([site.serve('fragile', [Fragile]), site.serve('bystander', [Bystander])]);
    await site.emit('fragile.later', {});
    await site.emit('fragile.never', { n: 7 });
    await site.emit('fragile.fatal', {});
    await site.emit('fragile.invalid', {});
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
    expect(await redriveDeadEvents(site.connection, { reader: byName['fragile.never']!.reader })).toEqual({ redriven: 1, left: [] });
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
    const first = await site.serve('deadly', [Deadly]);
    const [{ reader } = { reader: '' }] = strategyOf(first).health();
    await first.close();
    await site.emit('deadly', {});
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
    await site.serve('deadly', [Deadly]);
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
    await site.serve('strange', [Strange]);
    const before = (await listDeadEvents(site.connection)).length;
    await site.connection.publish(site.connection.names.event('strange.plain'), '{"a":1}');
    await site.connection.publish(site.connection.names.event('strange.empty'), '');
    await site.connection.publish(site.connection.names.event('strange.broken'), '{"a":');
    await site.emit('strange.bytes', Uint8Array.of(0, 255));
    await site.emit('strange.image', new JetStreamRecord(Uint8Array.of(7), { headers: { 'Content-Type': 'image/png' } }));
    await eventually(
      'four are read, one is dead',
      async () => seen.length === 4 && (await listDeadEvents(site.connection)).length === before + 1,
    );
    expect((await listDeadEvents(site.connection)).at(-1)).toMatchObject({ subject: 'strange.broken', reason: 'undecodable-payload' });
    expect(seen).toEqual(expect.arrayContaining([{ a: 1 }, undefined, Uint8Array.of(0, 255), Uint8Array.of(7)]));
  });

  it.each(['', 'two words', 'a..b', 'a.*', '>', 'a.\n'])('cannot be called %j', async (pattern) => {
    expect(await rejection(site.emit(pattern, {}))).toMatchObject({ code: 'invalid-argument' });
  });
});
