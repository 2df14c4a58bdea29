import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from '@jetlane/postgres';
import { type PostgresServer, startPostgres, waitUntil } from '@jetlane/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { freshDatabase } from './postgres-fixture.js';
import { type Faults, FaultyGateway } from './postgres-gateway.js';

let server: PostgresServer;
let db: Database;
let gateway: FaultyGateway | undefined;
const dir = mkdtempSync(join(tmpdir(), 'jetlane-demo-'));

beforeAll(async () => {
  server = await startPostgres();
  ({ db } = await freshDatabase(server.url));
});
afterEach(async () => {
  await gateway?.stop();
});
afterAll(async () => {
  await db.destroy();
  await server.stop();
  rmSync(dir, { recursive: true });
});

async function gatewayWith(faults: Faults = {}): Promise<string> {
  gateway = new FaultyGateway(db, faults);
  gateway.work();
  return await gateway.start();
}

async function demo(url: string, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const command = [
    'scripts/demo.mjs',
    '--url',
    url,
    '--tasks',
    '1000',
    '--users',
    '50',
    '--batch',
    '100',
    '--csv',
    join(dir, 'p.csv'),
    ...args,
  ];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, output };
}

/** Some purchases are done, most are not. */
async function halfway(): Promise<void> {
  const completed = () => [...(gateway?.tasks.values() ?? [])].filter((task) => task.state === 'completed').length;
  expect(await waitUntil(() => completed() > 200, { timeoutMs: 30_000 })).toBe(true);
}

describe('npm run demo', () => {
  it('ends with all balances right, and changes nothing when the same run is repeated', async () => {
    const url = await gatewayWith({ repeatEvery: 3 });
    const first = await demo(url, '--run', 'one');
    expect(first).toMatchObject({ code: 0, output: expect.stringContaining('RIGHT: all 50 balances') });
    expect(first.output).toContain('accepted 1,000/1,000, completed 1,000/1,000');
    const csv = readFileSync(join(dir, 'p.csv'), 'utf8');
    const second = await demo(url, '--run', 'one');
    expect(second).toMatchObject({ code: 0, output: expect.stringContaining('1,000 of them known before') });
    expect(readFileSync(join(dir, 'p.csv'), 'utf8')).toBe(csv);
  });

  it('outlasts hang-ups, 503s and a full queue', async () => {
    const url = await gatewayWith({ hangUps: 2, unavailable: 2, fullLines: 7 });
    expect(await demo(url)).toMatchObject({ code: 0, output: expect.stringContaining('RIGHT') });
  });

  it('waits for workers that die in the middle', async () => {
    const url = await gatewayWith();
    const running = demo(url, '--tasks', '3000');
    await halfway();
    gateway?.halt();
    expect(await waitUntil(() => (gateway?.unanswered ?? 0) > 1, { timeoutMs: 30_000 }), 'it goes on asking').toBe(true);
    gateway?.work();
    expect(await running).toMatchObject({ code: 0, output: expect.stringContaining('RIGHT') });
  });

  it('names a purchase that is given up', async () => {
    const url = await gatewayWith({ loseEvery: 100 });
    expect(await demo(url, '--stall', '1')).toMatchObject({
      code: 1,
      output: expect.stringMatching(/task default\.demo-\S+ is dead: lost on purpose/),
    });
  });

  it('gives up when nothing happens any more', async () => {
    const url = await gatewayWith();
    const running = demo(url, '--tasks', '3000', '--stall', '1');
    await halfway();
    gateway?.halt();
    expect(await running).toMatchObject({ code: 1, output: expect.stringContaining('no purchase was completed for 1 s') });
  });

  it('fails when a balance is wrong', async () => {
    const url = await gatewayWith();
    await demo(url, '--run', 'tampered');
    await db.updateTable('users').set({ balance: 1 }).where('id', '=', 'demo-tampered-user-0007').execute();
    const again = await demo(url, '--run', 'tampered');
    expect(again).toMatchObject({
      code: 1,
      output: expect.stringMatching(/1 of 50 balances are wrong.*\n {2}demo-tampered-user-0007: expected [\d,]+, found 1\n/),
    });
  });

  it('says so when there is no gateway', async () => {
    expect(await demo('http://127.0.0.1:1', '--stall', '1')).toMatchObject({
      code: 2,
      output: expect.stringContaining('no Jetlane gateway answers'),
    });
  });
});
