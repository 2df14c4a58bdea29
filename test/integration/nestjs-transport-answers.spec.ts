import { connect, leaderGet } from '@jetlane/jetstream';
import { serveCommand } from '@jetlane/nestjs/service';
import { JetlaneError } from '@jetlane/protocol';
import { BadRequestException, Controller } from '@nestjs/common';
import { MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { TransportSite } from './nestjs-transport-fixture.js';
import { eventually } from './services-fixture.js';
import { deferred } from './worker-fixture.js';

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport-answers');
});
afterAll(() => site.close());

function circular(): Record<string, unknown> {
  const data: Record<string, unknown> = { code: 'out-of-stock', message: 'none left' };
  data.self = data;
  return data;
}

const THROWN: Readonly<Record<string, () => unknown>> = {
  rpc: () => new RpcException(circular()),
  bigint: () => ({ n: 1n }),
  details: () => new JetlaneError('queue-full', 'no room', { details: { n: 1n } }),
  symbol: () => new BadRequestException({ message: [Symbol('no text')] }),
  hostile: () => Object.defineProperty(new Error('x'), 'message', { get: () => expect.unreachable('read') }),
};

describe('an answer', () => {
  it('comes whatever the handler throws or returns, also what JSON refuses', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    @Controller()
    class Odd {
      @MessagePattern('odd.throw')
      throw(@Payload() kind: string) {
        throw THROWN[kind]!();
      }

      @MessagePattern('odd.return')
      return() {
        return { n: 1n };
      }
    }
    await site.serve('odd', [Odd]);
    const failure = (kind: string) => rejection(site.ask('odd.throw', kind));
    expect(await failure('rpc')).toMatchObject({ code: 'internal', message: 'none left', details: { code: 'out-of-stock' } });
    expect(await failure('bigint')).toMatchObject({ code: 'internal', message: expect.stringContaining('JSON') });
    expect(await failure('details')).toMatchObject({ code: 'queue-full', message: 'no room', details: { name: 'JetlaneError' } });
    expect(await failure('symbol')).toMatchObject({ code: 'internal' });
    expect(await failure('hostile')).toMatchObject({ code: 'internal' });
    expect(await rejection(site.ask('odd.return', {}))).toMatchObject({ code: 'internal', message: expect.stringContaining('BigInt') });
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
});

describe('a request whose answer shall go elsewhere', () => {
  const say = (subject: string, reply: string) => site.connection.raw().publish(subject, '{}', { reply });

  it('is neither run nor answered, as a pattern and as a command, and stores nothing', async () => {
    const runs: string[] = [];
    @Controller()
    class Deputy {
      @MessagePattern('deputy')
      deputy(@Payload() { from }: { from?: string }) {
        runs.push(from ?? 'forged');
        return {};
      }
    }
    await site.serve('deputy', [Deputy]);
    const stop = serveCommand(site.connection, 'deputies', 'x', async (input) => runs.push((input as { from?: string }).from ?? 'forged'));
    const { names } = site.connection;
    await site.installation.queue({ name: 'email' });
    const forged = names.task('email', 'critical', 'forged');
    for (const subject of [names.rpc('deputy'), names.service('deputies', 'x')]) {
      for (const reply of [forged, 'other.replies.me', '_INBOX', '_INBOX.a.*', `_INBOX.${'x'.repeat(300)}`]) say(subject, reply);
    }
    // Behind them on the same link: when these are answered, the others have been read.
    await site.connection.raw().flush();
    await site.connection.request(names.rpc('deputy'), '{"from":"caller"}');
    await site.connection.request(names.service('deputies', 'x'), '{"from":"caller"}');
    expect(runs).toEqual(['caller', 'caller']);
    expect(await leaderGet(site.connection, names.lane('email', 'critical').stream, forged)).toBeUndefined();
    stop();
  });

  it('is answered below _INBOX, replies and the own prefix of the service', async () => {
    const link = await connect({ servers: site.installation.server.url, namespace: 'transport-answers', inboxPrefix: 'own.inbox' });
    const stop = serveCommand(link, 'own', 'x', async () => 1);
    await link.flush();
    const heard: string[] = [];
    const places = ['_INBOX.stranger.1', site.connection.names.pattern('replies.me'), 'own.inbox.1'];
    for (const place of places) site.connection.subscribe(place, ({ subject }) => heard.push(subject));
    for (const place of places) say(site.connection.names.service('own', 'x'), place);
    await eventually('all are answered', () => heard.length === places.length);
    expect(heard.sort()).toEqual([...places].sort());
    stop();
    await link.close();
  });
});

describe('a server with as many requests in hand as it may have', () => {
  it('answers the next one at once, that it may come again', async () => {
    const go = deferred();
    let running = 0;
    @Controller()
    class Full {
      @MessagePattern('full')
      async full() {
        running++;
        await go.promise;
        return 'done';
      }
    }
    await site.serve('full', [Full], { requestConcurrency: 2 });
    const inHand = [site.ask('full', {}), site.ask('full', {})];
    await eventually('both run', () => running === 2);
    expect(await rejection(site.ask('full', {}))).toMatchObject({ code: 'service-unavailable', retryable: true });
    go.resolve();
    expect(await Promise.all(inHand)).toEqual(['done', 'done']);
    expect(await site.ask('full', {})).toBe('done');
    expect(running).toBe(3);
    expect(await rejection(site.serve('fuller', [], { requestConcurrency: 0 }))).toMatchObject({ code: 'invalid-configuration' });
  });
});
