import { openQueueBucket } from '@jetlane/jetstream';
import {
  getJetlaneToken,
  getQueueToken,
  InjectQueue,
  Jetlane,
  JetlaneModule,
  type JetlaneOptions,
  type JetlaneOptionsFactory,
  Queue,
} from '@jetlane/nestjs';
import { Inject, Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { NestSite } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs');
});
afterAll(() => site.close());

@Injectable()
class Settings {
  get jetlane(): JetlaneOptions {
    return site.options;
  }
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

@Injectable()
class OptionsMaker implements JetlaneOptionsFactory {
  constructor(@Inject(Settings) private readonly settings: Settings) {}

  createJetlaneOptions(): Promise<JetlaneOptions> {
    return Promise.resolve(this.settings.jetlane);
  }
}

@Module({ imports: [SettingsModule], providers: [OptionsMaker], exports: [OptionsMaker] })
class OptionsModule {}

describe('JetlaneModule', () => {
  it('gives queues that enqueue, answer for their tasks and count them', async () => {
    @Injectable()
    class Signup {
      constructor(@InjectQueue('signup') readonly queue: Queue) {}
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'signup', retry: { attempts: 7 } })], providers: [Signup] });
    const { queue } = app.get(Signup);
    expect(queue).toBeInstanceOf(Queue);
    expect(queue.definition).toMatchObject({ name: 'signup', retry: { attempts: 7 } });
    const receipt = await queue.enqueue('welcome', { to: 'ada' }, { lane: 'high', key: 'ada' });
    expect(receipt).toMatchObject({ id: 'signup.ada', queue: 'signup', lane: 'high', state: 'queued', duplicate: false });
    const again = await queue.enqueue('welcome', { to: 'ada' }, { key: 'ada' });
    expect(again).toMatchObject({ id: 'signup.ada', duplicate: true });
    for (const one of [receipt, 'signup.ada', 'ada']) expect(await queue.status(one)).toMatchObject({ state: 'queued', type: 'welcome' });
    const later: number[] = [];
    const summary = await queue.enqueueMany([{ type: 'a' }, { type: 'not a type' }, { type: 'b', delay: '1h' }], {
      onError: (_, index) => later.push(index),
    });
    expect(summary).toEqual({ accepted: 2, duplicates: 0, failed: 1 });
    expect(later).toEqual([1]);
    expect(await queue.stats()).toMatchObject({ queue: 'signup', depth: 2, scheduled: 1 });
    expect(await rejection(queue.status('other.ada'))).toMatchObject({ code: 'invalid-argument' });
    expect(await queue.cancel(receipt, { reason: 'no longer wanted' })).toBe('cancelled');
    expect(await queue.status(receipt)).toMatchObject({ state: 'cancelled', reason: 'no longer wanted' });
    await queue.enqueue('a', undefined, { group: 'g', delay: '1h' });
    expect(await queue.cancelGroup('g')).toMatchObject({ cancelled: 1 });
  });

  it.each([
    ['useFactory', () => ({ imports: [SettingsModule], inject: [Settings], useFactory: ({ jetlane }: Settings) => jetlane })],
    [
      'useFactory and a provider of its own',
      () => ({ extraProviders: [Settings], inject: [Settings], useFactory: ({ jetlane }: Settings) => jetlane }),
    ],
    ['useClass', () => ({ imports: [SettingsModule], useClass: OptionsMaker })],
    ['useExisting', () => ({ imports: [OptionsModule], useExisting: OptionsMaker })],
  ])('takes its options from %s', async (_, options) => {
    const app = await site.start({ imports: [JetlaneModule.forRootAsync(options())] });
    expect(app.get(Jetlane).connection.state).toBe('connected');
    expect(app.get(Jetlane)).toBe(app.get(getJetlaneToken()));
  });

  it('makes definitions from providers, and names of queues too', async () => {
    const app = await site.app({
      imports: [
        JetlaneModule.registerQueueAsync({
          name: 'made',
          imports: [SettingsModule],
          inject: [Settings],
          useFactory: () => ({ lease: '9s' }),
        }),
      ],
    });
    expect(app.get<Queue>(getQueueToken('made')).definition).toMatchObject({ lease: '9s' });
    const dynamic = await app.get(Jetlane).queue('tenant-7');
    expect(await dynamic.stats()).toMatchObject({ queue: 'tenant-7', depth: 0 });
    expect(await app.get(Jetlane).queue('tenant-7')).toBe(dynamic);
  });

  it('keeps named connections apart', async () => {
    const app = await site.start({
      imports: [
        JetlaneModule.forRoot(site.options),
        JetlaneModule.forRoot({ ...site.options, name: 'billing', namespace: 'nestjs-billing' }),
        JetlaneModule.registerQueue({ name: 'shared' }, { name: 'shared', connection: 'billing' }),
      ],
    });
    const queue = app.get<Queue>(getQueueToken('shared'));
    const billing = app.get<Queue>(getQueueToken('shared', 'billing'));
    await queue.enqueue('t');
    await billing.enqueue('t');
    await billing.enqueue('t');
    expect([(await queue.stats()).depth, (await billing.stats()).depth]).toEqual([1, 2]);
    expect(app.get<Jetlane>(getJetlaneToken('billing')).connection.names.namespace).toBe('nestjs-billing');
  });

  it('refuses options of a task that do not exist: a key that is passed over lets it run twice', async () => {
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'habits' })] });
    const queue = app.get<Queue>(getQueueToken('habits'));
    const refusal = async (options: object) => (await rejection(queue.enqueue('t', 1, options))).message;
    expect(await refusal({ jobId: 'welcome-1' })).toBe('enqueue has no option "jobId"; did you mean key?');
    expect(await refusal({ dealy: '5s' })).toBe('enqueue has no option "dealy"; did you mean delay?');
    expect(await refusal({ removeOnComplete: true })).toMatch(/^enqueue has no option "removeOnComplete"; there are: lane, delay, key, /);
    expect((await queue.stats()).depth).toBe(0);
    await queue.enqueue('t', 1, { jobId: undefined } as object);
    expect((await queue.stats()).depth).toBe(1);
  });

  it('is not global when told so: a module imports what it uses', async () => {
    const jetlane = JetlaneModule.forRoot({ ...site.options, global: false });
    const app = await site.start({ imports: [jetlane, JetlaneModule.registerQueue({ name: 'local', imports: [jetlane] })] });
    expect((await app.get<Queue>(getQueueToken('local')).stats()).queue).toBe('local');
    const other = JetlaneModule.forRoot({ ...site.options, global: false });
    const compiled = Test.createTestingModule({ imports: [other, JetlaneModule.registerQueue({ name: 'local' })] }).compile();
    expect((await rejection(compiled)).message).toContain('"JetlaneModule.forRoot()"');
  });

  it('refuses two roots of one connection: all handlers would run twice', async () => {
    @Module({ imports: [JetlaneModule.forRoot(site.options)] })
    class FeatureModule {}
    const error = await rejection(site.app({ imports: [FeatureModule] }));
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toContain('imported twice for connection "default"');
  });

  it('uses a connection that is given, and leaves it open', async () => {
    const connection = await site.installation.link();
    const app = await site.app({}, { connection });
    expect(app.get(Jetlane).connection).toBe(connection);
    await app.close();
    expect(connection.state).toBe('connected');
  });

  it('closes the connection that it opened', async () => {
    const app = await site.app({});
    const { connection } = app.get(Jetlane);
    await app.close();
    expect(connection.state).toBe('closed');
  });

  it('refuses two definitions of one queue in one process, and takes its bare name anywhere', async () => {
    const two = site.app({
      imports: [JetlaneModule.registerQueue({ name: 'twice', lease: '5s' }), JetlaneModule.registerQueue({ name: 'twice', lease: '6s' })],
    });
    const error = await rejection(two);
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toContain('"5s"');
    expect(error.message).toContain('"6s"');
    const app = await site.app({
      imports: [JetlaneModule.registerQueue({ name: 'once' }), JetlaneModule.registerQueue({ name: 'once', lease: '5s' })],
    });
    const stored = await (await openQueueBucket(site.connection)).get('once');
    expect(stored?.value).toEqual({ name: 'once', lease: '5s' });
    expect(app.get<Queue>(getQueueToken('once')).definition.lease).toBe('5s');
  });

  it('lets the stored definition win over the given one', async () => {
    await (await openQueueBucket(site.connection)).put('stored', { name: 'stored', lease: '33s' });
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'stored', lease: '44s' })] });
    expect(app.get<Queue>(getQueueToken('stored')).definition.lease).toBe('33s');
  });

  it.each([
    [{ name: 'No.Queue' }, 'name'],
    [{ name: 'wrong', lease: '1ms' }, 'lease'],
  ])('refuses the definition %o', async (definition, field) => {
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue(definition)] }));
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toContain(field);
  });
});
