import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ensureQueue } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from '../support/broker.js';

const PROGRAM = fileURLToPath(new URL('../../apps/queue-manager/dist/validate/main.js', import.meta.url));

let broker: Broker;
beforeAll(async () => {
  broker = await Broker.start('check');
});
afterAll(() => broker.stop());

/** Runs the program as an operator does. */
async function run(env: Record<string, string> = {}): Promise<{ code: number; text: string }> {
  const settings = { NATS_URL: broker.server.url, JETLANE_NAMESPACE: 'check', ...env };
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM], { env: { PATH: process.env.PATH, ...settings } });
    return { code: 0, text: stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, text: stdout + stderr };
  }
}

describe('the program behind npm run validate', () => {
  it('ends with 1 where something does not work, and says what to do', async () => {
    const empty = await run();
    expect(empty.code).toBe(1);
    expect(empty.text).toMatch(/ERROR {3}definitions {2}no queue is defined\n {21}fix: start the queue manager/);
    const nowhere = await run({ NATS_URL: 'nats://127.0.0.1:1' });
    expect(nowhere).toMatchObject({ code: 1, text: expect.stringMatching(/ERROR {3}connection [\s\S]*fix: start nats-server/) });
  });

  it('ends with 0 where all is well', async () => {
    await ensureQueue(await broker.connect(), { name: 'mail' });
    const fine = await run();
    expect(fine.text).toMatch(/0 errors, 1 warnings/);
    expect(fine.code).toBe(0);
  });
});
