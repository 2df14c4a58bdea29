import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readSources, type SourceFile } from './source-scan.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Spans are made, and attributes and events named, where the table is; metrics take their names from it. */
const MISUSES: readonly [what: string, pattern: RegExp][] = [
  ['makes a span', /\.startSpan\(|\.startActiveSpan\(/],
  ['adds an event to a span', /\.addEvent\(/],
  ['names an attribute', /['"`](?:messaging|jetlane\.(?:task|lane|hop))\./],
  ['names a metric', /\.create(?:Observable)?(?:Counter|Histogram|Gauge|UpDownCounter)\(\s*['"`]/],
];

/** What files outside libs/telemetry do that only it should. */
function misuses(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => !path.startsWith('libs/telemetry/') && !path.endsWith('.spec.ts'))
    .flatMap(({ path, text }) => MISUSES.filter(([, pattern]) => pattern.test(text)).map(([what]) => `${path} ${what}`));
}

describe('names of spans, attributes and metrics', () => {
  it('are in the table of libs/telemetry alone', async () => {
    expect(misuses(await readSources(ROOT, ['libs', 'apps']))).toEqual([]);
  });

  it.each([
    ["tracer.startSpan('x')", 'makes a span'],
    ["span.addEvent('x')", 'adds an event to a span'],
    ["span.setAttribute('jetlane.task.hop', 1)", 'names an attribute'],
    ["meter.createCounter('jetlane_x')", 'names a metric'],
  ])('are found elsewhere: %s', (text, what) => {
    expect(misuses([{ path: 'libs/worker/src/x.ts', text }])).toEqual([`libs/worker/src/x.ts ${what}`]);
    expect(misuses([{ path: 'libs/telemetry/src/x.ts', text }])).toEqual([]);
  });
});
