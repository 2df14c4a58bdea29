import { describe, expect, it } from 'vitest';
import { CELLS } from '../chaos/cells/index.js';
import { runLine } from '../chaos/report.js';
import { isGreen, runSuite } from '../chaos/suite.js';

// The rest of the cells, and thousands of tasks a second: `npm run chaos`.
const SHORT = ['worker-killed', 'worker-stopped', 'consumer-deleted', 'handler-throws', 'server-killed'];
const LOAD = { rate: 200, seconds: 3, leaseMs: 4000, patienceMs: 60_000 };

describe('chaos, in small', () => {
  it('nothing is lost, stuck or done too often, and each cell fails without its protection', async () => {
    const lines: string[] = [];
    const cells = CELLS.filter(({ name }) => SHORT.includes(name));
    expect(cells).toHaveLength(SHORT.length);
    const results = await runSuite({ cells, load: LOAD, atOnce: 3, onRun: (result) => lines.push(runLine(result)) });
    expect(
      results.filter((result) => !isGreen(result)).map(({ cell }) => cell.name),
      lines.join('\n'),
    ).toEqual([]);
    // Half a minute of faults and leases, beside whatever else the machine does.
  }, 300_000);
});
