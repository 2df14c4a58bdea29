import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './dependency-rules.js';
import { readSources } from './source-scan.js';

/** Lines of libs/batching/src that are neither blank nor comments. */
const MOST_LINES = 1_200;
const COMMENT_OR_BLANK = /^\s*(?:\/\/|\/\*|\*|$)/;

describe('@jetlane/batching', () => {
  it(`is small: at most ${MOST_LINES} source lines`, async () => {
    const sources = (await readSources(ROOT, [join('libs', 'batching', 'src')])).filter(({ path }) => !path.endsWith('.spec.ts'));
    const lines = sources.flatMap(({ text }) => text.split('\n')).filter((line) => !COMMENT_OR_BLANK.test(line));
    expect(sources.length).toBeGreaterThan(10);
    expect(lines.length).toBeLessThanOrEqual(MOST_LINES);
  });
});
