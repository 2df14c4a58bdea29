import { type DeadEvent, listDeadEvents, redriveDeadEvents } from '@jetlane/nestjs/transport';
import { encodeHeaders, FatalError } from '@jetlane/protocol';
import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { strategyOf, TransportSite } from './nestjs-transport-fixture.js';
import { eventually } from './services-fixture.js';

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport-dead');
});
afterAll(() => site.close());

describe('an event as large as the server takes', () => {
  it('is buried with less beside it, or without its body, and redriven whole', async () => {
    let broken = true;
    const seen: number[] = [];
    @Controller()
    class Large {
      @EventPattern<string>('large.*')
      run(@Payload() text: string) {
        if (broken) throw new FatalError('m'.repeat(900));
        seen.push(text.length);
      }
    }
    await site.serve('large', [Large]);
    const most = site.connection.raw().info!.max_payload;
    const emit = (name: string, size: number, headers?: Uint8Array) =>
      site.connection.publish(site.connection.names.event(`large.${name}`), `"${'x'.repeat(size - 2)}"`, headers);
    await emit('fits', 100, encodeHeaders([['Tenant', 'acme']]));
    await emit('headers', most - 600);
    await emit('body', most - 100);
    await eventually('all are dead', async () => (await listDeadEvents(site.connection)).length === 3);
    const dead = Object.fromEntries((await listDeadEvents(site.connection)).map((event) => [event.subject, event]));
    expect(facts(dead['large.fits']!)).toEqual({ attempts: 1, reason: 'fatal', size: 100, message: 900, bodyCut: false });
    expect(facts(dead['large.headers']!)).toEqual({ attempts: 1, reason: 'fatal', size: most - 600, message: 0, bodyCut: false });
    expect(facts(dead['large.body']!)).toEqual({ attempts: 1, reason: 'fatal', size: 0, message: 0, bodyCut: true });
    broken = false;
    await redriveDeadEvents(site.connection);
    await eventually('all are handled', () => seen.length === 3);
    expect(seen.sort((a, b) => a - b)).toEqual([98, most - 602, most - 102]);
    expect(await listDeadEvents(site.connection)).toEqual([]);
  });
});

describe('a redrive', () => {
  let broken = true;
  const seen: string[] = [];
  @Controller()
  class Mixed {
    @EventPattern<string>('mixed.now', { broadcast: true })
    all() {
      if (broken) throw new FatalError('not now');
      seen.push('broadcast');
    }

    @EventPattern<string>('mixed.>')
    one() {
      if (broken) throw new FatalError('not now');
      seen.push('shared');
    }
  }

  it('reaches a broadcast reader while its process runs', async () => {
    const app = await site.serve('mixed', [Mixed]);
    const gone = await site.serve('gone', [Mixed]);
    await site.emit('mixed.now', {});
    await eventually('all four are dead', async () => (await listDeadEvents(site.connection)).length === 4);
    await gone.close();
    broken = false;
    for (const { reader } of strategyOf(app).health()) {
      expect(await redriveDeadEvents(site.connection, { reader })).toEqual({ redriven: 1, left: [] });
    }
    await eventually('both are handled', () => seen.length === 2);
    expect(seen.sort()).toEqual(['broadcast', 'shared']);
  });

  it('leaves what has lost its reader, and what comes behind it is redriven', async () => {
    const [first, second] = await listDeadEvents(site.connection);
    const shared = [first!, second!].find(({ reader }) => reader.startsWith('gone-mixed_all'))!;
    const broadcast = first === shared ? second! : first!;
    const left = { reader: broadcast.reader, sequence: broadcast.sequence, why: 'no-reader' };
    expect(await redriveDeadEvents(site.connection)).toEqual({ redriven: 1, left: [left] });
    expect(await listDeadEvents(site.connection)).toEqual([broadcast]);
    expect(await listDeadEvents(site.connection, { after: broadcast.sequence })).toEqual([]);
    await site.serve('gone', [Mixed]);
    await eventually('the shared reader has found it', () => seen.length === 3);
  });
});

describe('what a stranger wrote into the stream of dead events', () => {
  it('is listed as unreadable and blocks nobody', async () => {
    let broken = true;
    @Controller()
    class Patient {
      @EventPattern<string>('patient')
      run() {
        if (broken) throw new FatalError('not now');
      }
    }
    const app = await site.serve('patient', [Patient]);
    const [{ reader } = { reader: '' }] = strategyOf(app).health();
    const write = (sequence: number, headers: [string, string][]) =>
      site.connection.publish(site.connection.names.deadEvent(reader, sequence), '{}', encodeHeaders(headers));
    await write(900_001, [
      ['Task-Dead-Error', '{"name"'],
      ['Event-Subject', 'patient'],
    ]);
    await write(900_002, [['Task-Dead-Reason', 'fatal']]);
    await write(900_003, [
      ['Event-Subject', 'a b.*'],
      ['Event-Attempts', 'many'],
    ]);
    await write(900_004, [
      ['Event-Subject', 'patient'],
      ['Task-Dead-Error', 'null'],
    ]);
    await site.emit('patient', {});
    await eventually('the event is dead', async () => (await listDeadEvents(site.connection, { reader })).length === 5);
    const dead = await listDeadEvents(site.connection, { reader });
    expect(dead.map(({ reason, attempts }) => [reason, attempts])).toEqual([...Array(4).fill(['unreadable', 0]), ['fatal', 1]]);
    broken = false;
    const left = [dead[1]!, dead[2]!].map(({ sequence }) => ({ reader, sequence, why: 'unreadable' }));
    expect(await redriveDeadEvents(site.connection, { reader })).toEqual({ redriven: 3, left });
  });
});

const facts = ({ attempts, reason, data, error, bodyCut }: DeadEvent) => ({
  attempts,
  reason,
  size: data.length,
  message: error?.message.length,
  bodyCut,
});
