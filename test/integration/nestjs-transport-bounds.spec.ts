import type { JetStreamClientOptions } from '@jetlane/nestjs/transport';
import { Logger } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { TransportSite } from './nestjs-transport-fixture.js';

const DAY_NANOS = 86_400_000 * 1_000_000;

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport-bounds');
});
afterAll(() => site.close());

async function emitWith(options: Partial<JetStreamClientOptions>): Promise<void> {
  const client = site.open(options);
  try {
    await site.emit('bounded', 1, client);
  } finally {
    await client.close();
  }
}

const bounds = async (stream: string) => {
  const { streams } = await site.connection.admin();
  const { max_age, max_bytes } = (await streams.info(stream)).config;
  return { days: max_age / DAY_NANOS, bytes: max_bytes };
};

describe('the streams of events', () => {
  it('are bounded by age and bytes from the beginning; whoever wants other bounds later is told and changes nothing', async () => {
    const { names } = site.connection;
    expect(await rejection(emitWith({ keepEventBytes: -1 }))).toMatchObject({ code: 'invalid-argument' });
    await emitWith({ keepEvents: '2d' });
    expect(await bounds(names.events)).toEqual({ days: 2, bytes: 1024 ** 3 });
    expect(await bounds(names.deadEvents)).toEqual({ days: 30, bytes: 256 * 1024 ** 2 });
    const lines: string[] = [];
    const keep = (line: string) => void lines.push(line);
    Logger.overrideLogger({ log: keep, warn: keep, error: keep });
    await emitWith({ keepEvents: '2d' });
    expect(lines).toEqual([]);
    await emitWith({ keepEvents: '3d', keepEventBytes: 0 });
    Logger.overrideLogger(false);
    expect(lines).toEqual([expect.stringMatching(/^stream:differs stream=transport-bounds_events .*"maxBytes":1073741824.*"maxBytes":0/)]);
    expect(await bounds(names.events)).toEqual({ days: 2, bytes: 1024 ** 3 });
  });
});
