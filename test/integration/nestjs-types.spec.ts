import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COMPILER = 'node_modules/typescript7/bin/tsc';

describe('types of @jetlane/nestjs', () => {
  it('flow from contracts to producers and handlers; the examples and the tests compile', async () => {
    const output = await new Promise<string>((resolve) => {
      execFile(process.execPath, [COMPILER, '-p', 'test/types', '--pretty', 'false'], { cwd: ROOT }, (_, stdout, stderr) =>
        resolve(stdout + stderr),
      );
    });
    expect(output).toBe('');
  });
});
