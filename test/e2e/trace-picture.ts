import type { Span } from '../support/collector.js';

const WIDTH = 40;
const ms = (nanos: string): number => Number(BigInt(nanos) / 1000n) / 1000;

interface Row {
  readonly label: string;
  readonly start: number;
  readonly end: number;
}

/** A trace as text: a row per span, children below their parents, with its beginning, its length and its place in time. */
export function drawTrace(spans: readonly Span[]): string {
  const known = new Set(spans.map(({ spanId }) => spanId));
  const roots = spans.filter(({ parentSpanId }) => !parentSpanId || !known.has(parentSpanId));
  const rows = inOrder(roots).flatMap((root) => rowsOf(root, spans, 0));
  const begin = Math.min(...rows.map(({ start }) => start));
  const whole = Math.max(...rows.map(({ end }) => end)) - begin;
  const widest = Math.max(...rows.map(({ label }) => label.length));
  return rows.map((row) => draw(row, begin, whole, widest)).join('\n');
}

/** What of a picture is the same in every run: services, spans, hops and outcomes, without the times. */
export const labelsOf = (picture: string): string[] => picture.split('\n').map((line) => line.split(/ {2,}\d/)[0]!.trimEnd());

function rowsOf(span: Span, all: readonly Span[], depth: number): Row[] {
  const children = inOrder(all.filter(({ parentSpanId }) => parentSpanId === span.spanId));
  const own = { label: labelOf(span, depth), start: ms(span.startTimeUnixNano), end: ms(span.endTimeUnixNano) };
  return [own, ...children.flatMap((child) => rowsOf(child, all, depth + 1))];
}

const inOrder = (spans: readonly Span[]): Span[] => [...spans].sort((a, b) => ms(a.startTimeUnixNano) - ms(b.startTimeUnixNano));

function labelOf({ service, name, attributes, events }: Span, depth: number): string {
  const { 'jetlane.task.hop': hop, 'jetlane.task.attempt': attempt, 'jetlane.task.outcome': outcome } = attributes;
  const facts = [
    hop === undefined ? '' : `hop ${hop}`,
    attempt === undefined ? '' : `attempt ${attempt}`,
    outcome === undefined ? '' : String(outcome),
    events
      .filter(({ name: event }) => event !== 'exception')
      .map((event) => event.name)
      .join('→'),
  ];
  return `${service.replace('jetlane-', '').padEnd(11)}${'  '.repeat(depth)}${name}  ${facts.filter(Boolean).join(', ')}`.trimEnd();
}

function draw({ label, start, end }: Row, begin: number, whole: number, widest: number): string {
  const from = Math.min(WIDTH - 1, Math.floor(((start - begin) / whole) * WIDTH));
  const length = Math.max(1, Math.round(((end - start) / whole) * WIDTH));
  const bar = `${' '.repeat(from)}${'█'.repeat(Math.min(length, WIDTH - from))}`;
  return `${label.padEnd(widest)}  ${(start - begin).toFixed(1).padStart(7)} +${(end - start).toFixed(1).padStart(6)} ms  ${bar}`;
}
