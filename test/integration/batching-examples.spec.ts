import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const FOLDER = fileURLToPath(new URL('../../examples/batching', import.meta.url));
const MOST_LINES = 80;

/** What each example prints. */
const EXPECTED: Record<string, string[]> = {
  notifications: ['sent 50', 'not delivered to gone: no such device', 'sent 50', 'sent 21', 'success rate 0.992'],
  'prioritised-mail': ['Reset your password', 'Your digest', 'reset went out first, as <1@example.org>', 'News of the week'],
  'api-calls': ['given up after 1 attempt(s): the API answered 400', 'price 400', 'refused: true', 'retried true'],
  'grouped-reports': ['ada: 30 in 3 lines', 'bob: 30 in 3 lines', '1 waiting', 'cyd: left for tomorrow'],
  monitoring: [
    'process: nine',
    'batches completed 2',
    'batches started 2',
    'batches to look at 1',
    'dropped (overflow) 2',
    'enqueued 10',
    'processed 7',
    'success rate 0.875, deepest 8, times known true',
  ],
  'shutdown-and-recovery': ['15 of 20 wait when the first process ends', 'restored 20, damaged 0', 'done 20, each once: true'],
};

describe('examples of batching', () => {
  it('are all run here, and short', async () => {
    const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.ts'));
    expect(files.map((name) => name.replace('.ts', '')).sort()).toEqual(Object.keys(EXPECTED).sort());
    for (const file of files) expect((await readFile(join(FOLDER, file), 'utf8')).split('\n').length, file).toBeLessThanOrEqual(MOST_LINES);
  });

  it.each(Object.entries(EXPECTED))('%s', async (name, expected) => {
    const { main } = (await import(join(FOLDER, `${name}.ts`))) as { main: (log: (line: string) => void) => Promise<void> };
    const lines: string[] = [];
    await main((line) => lines.push(line));
    for (const line of expected) expect(lines).toContain(line);
    // Several of them may come in another order than they are listed in; nothing else is printed.
    expect([...lines].sort()).toEqual([...expected].sort());
  });
});
