import { callService, serveCommand } from '@jetlane/nestjs/service';
import { JetStreamServer, type JetStreamServerOptions } from '@jetlane/nestjs/transport';
import { JetlaneError } from '@jetlane/protocol';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { TransportSite } from './nestjs-transport-fixture.js';
import { eventually } from './services-fixture.js';

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport-life');
});
afterAll(() => site.close());

const listening = (server: JetStreamServer) =>
  new Promise<void>((resolve, reject) => server.listen((error) => (error ? reject(error as Error) : resolve())));

function serverOf(service: string, options: Partial<JetStreamServerOptions> = {}) {
  const seen: unknown[] = [];
  const server = new JetStreamServer({ servers: site.installation.server.url, namespace: 'transport-life', service, ...options });
  server.addHandler(`${service}.event`, async (data: unknown) => seen.push(data), true);
  server.addHandler(`${service}.request`, async (data: unknown) => ({ got: data }));
  return { server, seen };
}

const subscriptions = async (subject: string) => {
  const answers = await site.connection.gather(site.connection.names.rpc(subject), 'null', 300);
  return answers.length;
};

describe('a server', () => {
  it('that is started twice listens once', async () => {
    const { server, seen } = serverOf('twice');
    await Promise.all([listening(server), listening(server)]);
    await listening(server);
    expect(server.health()).toHaveLength(1);
    await site.emit('twice.event', 1);
    await eventually('the event is read', () => seen.length > 0);
    expect(await site.ask('twice.request', 2)).toEqual({ got: 2 });
    // A second subscription in the same group would share requests, not double them; so the handlers are counted at the end.
    await Promise.all([server.close(), server.close()]);
    expect(seen).toEqual([1]);
    expect(await rejection(site.ask('twice.request', 3))).toMatchObject({ code: 'no-responders' });
  });

  it('goes on where it stopped when it is started again, and loses nothing in between', async () => {
    const { server, seen } = serverOf('again');
    for (let round = 0; round < 4; round++) {
      await listening(server);
      expect(await site.ask('again.request', round)).toEqual({ got: round });
      await server.close();
      await site.emit('again.event', round);
    }
    await listening(server);
    await eventually('all events are read', () => seen.length === 4);
    expect(seen).toEqual([0, 1, 2, 3]);
    await server.close();
  });

  it('that is closed while it starts leaves nothing behind', async () => {
    const { server, seen } = serverOf('hasty');
    const start = listening(server).catch(() => undefined);
    await server.close();
    await start;
    expect(server.health()).toEqual([]);
    expect(await subscriptions('hasty.request')).toBe(0);
    await site.emit('hasty.event', 1);
    await listening(server);
    await eventually('the event has waited', () => seen.length === 1);
    await server.close();
  });
});

describe('a server that is closed and started at the same moment', () => {
  it('does one after the other, and listens or not as was said last', async () => {
    const { server, seen } = serverOf('overlap');
    await listening(server);
    for (let round = 0; round < 3; round++) {
      const steps = [server.close(), listening(server), server.close(), listening(server), listening(server)];
      await Promise.all(steps);
      expect(server.health()).toHaveLength(1);
      expect(await site.ask('overlap.request', round)).toEqual({ got: round });
      await site.emit('overlap.event', round);
    }
    await eventually('all events are read, once', () => seen.length === 3);
    expect(seen).toEqual([0, 1, 2]);
    await Promise.all([server.close(), listening(server), server.close()]);
    expect(server.health()).toEqual([]);
    expect(await rejection(site.ask('overlap.request', 1))).toMatchObject({ code: 'no-responders' });
  });

  it('tries again after a start that failed', async () => {
    const { server } = serverOf('retried');
    server.addHandler('not a subject', async () => 1);
    expect(await rejection(listening(server))).toMatchObject({ code: 'invalid-argument' });
    expect(await rejection(site.ask('retried.request', 1))).toMatchObject({ code: 'no-responders' });
    server.getHandlers().delete('not a subject');
    await Promise.all([server.close(), listening(server)]);
    expect(await site.ask('retried.request', 1)).toEqual({ got: 1 });
    await server.close();
  });

  it('says at once that a time cannot be read', () => {
    expect(() => new JetStreamServer({ service: 'x', shutdownTimeout: 'soon' as never })).toThrow(/shutdownTimeout/);
  });
});

describe('two handlers of one event', () => {
  it('both run, and an error of either is a failed attempt', async () => {
    const runs: string[] = [];
    @Controller()
    class Both {
      @EventPattern<string>('both')
      one() {
        runs.push('one');
      }

      @EventPattern<string>('both')
      two(@Payload() _: unknown, @Ctx() context: { getAttempt(): number }) {
        runs.push('two');
        if (context.getAttempt() === 1) throw new Error('not yet');
      }
    }
    await site.serve('both', [Both]);
    await site.emit('both', {});
    await eventually('both have run twice', () => runs.length === 4);
    expect(runs.sort()).toEqual(['one', 'one', 'two', 'two']);
  });
});

describe('commands of a service', () => {
  it('are asked of that service alone, by the client and by callService', async () => {
    @Controller()
    class Numbers {
      @MessagePattern('double')
      double(@Payload() n: number, @Ctx() context: { getSubject(): string }) {
        if (typeof n !== 'number') throw new JetlaneError('invalid-argument', 'expected a number');
        return [context.getSubject(), n * 2];
      }
    }
    await site.serve('numbers', [Numbers], { commands: true });
    const client = site.open({ commandsOf: 'numbers' });
    expect(await site.ask('double', 2, client)).toEqual(['double', 4]);
    expect(await callService(site.connection, 'numbers', 'double', 4)).toEqual(['double', 8]);
    expect(await rejection(site.ask('double', 'x', client))).toMatchObject({ code: 'invalid-argument', message: 'expected a number' });
    expect(await rejection(site.ask('double', 2))).toMatchObject({ code: 'no-responders' });
    const stop = serveCommand(site.connection, 'callers', 'who', async (_, caller) => caller);
    const callers = site.open({ commandsOf: 'callers' });
    expect(await site.ask('who', {}, callers)).toBe('unknown');
    stop();
    await Promise.all([client.close(), callers.close()]);
  });

  it('tell a caller whose input is no JSON', async () => {
    const stop = serveCommand(site.connection, 'strict', 'x', async () => 1);
    const answer = await site.connection.request(site.connection.names.service('strict', 'x'), '{"a":');
    expect(JSON.parse(Buffer.from(answer.data).toString())).toMatchObject({ error: { code: 'invalid-json' } });
    stop();
  });
});
