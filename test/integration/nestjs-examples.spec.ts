import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JetlaneOptions } from '@jetlane/nestjs';
import { stopTestServer } from '@jetlane/testing/nestjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NestSite } from './nestjs-fixture.js';

const FOLDER = fileURLToPath(new URL('../../examples/nestjs', import.meta.url));
const MOST_LINES = 80;

/** What each example prints, in this order. */
const EXPECTED: Record<string, string[]> = {
  minimal: ['email.welcome-ada_example_org is queued', 'enqueued again: the first one stands', 'completed: sent to ada@example.org'],
  batch: [
    '5 documents in one call',
    'completed at attempt 1',
    'completed at attempt 1',
    'dead: document 2 is empty',
    'completed at attempt 1',
    'completed at attempt 1',
    'dead: the payload does not fit the schema of its handler: id: Invalid input: expected number, received string; text: Invalid input: expected string, received undefined',
  ],
  priorities: [
    'low: the page that is in the printer',
    'critical: evacuation plan',
    'high: boarding pass',
    'normal: report',
    'low: newsletter',
  ],
  'retries-and-dead-letters': [
    'attempt 1 failed: the bank is away',
    'attempt 2 failed: the bank is away',
    'good: completed, charged at attempt 3',
    'attempt 1 failed: the bank says: in a moment',
    'attempt 2 failed: the bank is away',
    'busy: completed, charged at attempt 3',
    'dead (fatal): the card is stolen',
    'stolen: dead after 1 attempt',
    '1 dead letter',
  ],
  contracts: ['pixels: 1200', 'of version 1: {"pixels":100}', 'payload-mismatch: url', 'dead at attempt 1: payload-mismatch'],
  events: ['stored', 'refused: customer "bob" has no account', 'orders.created: invoice for order 7 over 30, attempt 2'],
  testing: ['welcome, ada', 'waits: remind for ada, low, delayed', 'still there, ada?'],
  'graceful-shutdown': ['first finished the short one', 'first has ended', 'second took the long one over', 'the long one is completed'],
};

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('examples');
  await site.schedule();
});
afterAll(async () => {
  await site.close();
  await stopTestServer();
});

describe('examples of NestJS', () => {
  it('are all run here, and short', async () => {
    const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.ts'));
    expect(files.map((name) => name.replace('.ts', '')).sort()).toEqual(Object.keys(EXPECTED).sort());
    for (const file of files) expect((await readFile(join(FOLDER, file), 'utf8')).split('\n').length, file).toBeLessThanOrEqual(MOST_LINES);
  });

  it.each(Object.entries(EXPECTED))('%s', async (name, expected) => {
    const { main } = (await import(join(FOLDER, `${name}.ts`))) as {
      main: (log: (line: string) => void, options: JetlaneOptions) => Promise<void>;
    };
    const { servers, namespace } = site.options;
    const lines: string[] = [];
    // The example of testing brings its own server.
    await main((line) => lines.push(line), name === 'testing' ? {} : { servers: servers!, namespace: namespace! });
    // What two tasks or services say at the same time may come in either order.
    const unordered = name === 'events';
    expect(unordered ? [...lines].sort() : lines).toEqual(unordered ? [...expected].sort() : expected);
  });
});
