import type { Line } from './figures.js';

const WIDTH = 860;
const LABELS = 340;
const ROW = 44;
const TOP = 78;
const BAR = 15;
const COLOURS: Record<string, string> = { p50: '#4f8ef7', p99: '#1d3f8a' };

/** One row of bars: `high pickup, idle` with its p50 and p99, in ms. */
interface Row {
  readonly name: string;
  readonly values: Readonly<Record<string, number>>;
}

/** Rows whose metrics end with `: p50` and `: p99`, as bars under a title and a line that says more, over a logarithmic axis of milliseconds; an SVG that needs no font and no script. */
export function chart(title: string, subtitle: string, lines: readonly Line[]): string {
  const rows = rowsOf(lines);
  const all = rows.flatMap(({ values }) => Object.values(values));
  const low = 10 ** Math.floor(Math.log10(Math.min(...all)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...all)));
  const x = (value: number) =>
    LABELS + ((Math.log10(value) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))) * (WIDTH - LABELS - 90);
  const height = TOP + rows.length * ROW + 12;
  const ticks = Array.from({ length: Math.round(Math.log10(high / low)) + 1 }, (_, i) => low * 10 ** i);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="12" y="22" font-size="15" font-weight="600" fill="#111">${title}</text>`,
    label(12, 42, subtitle, 'start'),
    ...ticks.map(
      (tick) => `<path d="M${x(tick)} ${TOP - 8}V${height - 12}" stroke="#ddd"/>${label(x(tick), TOP - 14, `${tick} ms`, 'middle')}`,
    ),
    ...rows.flatMap(({ name, values }, index) => [
      label(LABELS - 10, TOP + index * ROW + 20, name, 'end'),
      ...Object.entries(values).map(([field, value], part) =>
        bar(x(low), x(value), TOP + index * ROW + 2 + part * (BAR + 2), field, value),
      ),
    ]),
    '</svg>\n',
  ].join('\n');
}

function rowsOf(lines: readonly Line[]): Row[] {
  const rows = new Map<string, Record<string, number>>();
  for (const { metric, value } of lines) {
    const [, name, field] = /^(.*): (p50|p99)$/.exec(metric) ?? [];
    if (name && field) rows.set(name, { ...rows.get(name), [field]: value });
  }
  return [...rows].map(([name, values]) => ({ name, values }));
}

function bar(from: number, to: number, y: number, field: string, value: number): string {
  const figure = value.toPrecision(value < 10 ? 2 : 3);
  return `<rect x="${from}" y="${y}" width="${Math.max(1, to - from)}" height="${BAR}" fill="${COLOURS[field]}"/>${label(to + 6, y + 12, `${field} ${figure}`, 'start')}`;
}

const label = (x: number, y: number, text: string, anchor: string): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#333">${text}</text>`;
