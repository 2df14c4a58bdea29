import { svg } from './dom.js';
import type { Sample } from './series.js';

const WIDTH = 240;
const HEIGHT = 56;
/** The time that the width stands for grows with the history, so that a fresh page has something to show. */
const LEAST_SPAN_MS = 20_000;
const MOST_SPAN_MS = 120_000;

/** Depth as an area and finished tasks per second as a line, over the last two minutes. Each has its own scale. */
export class Sparkline {
  private readonly area = svg('path', { class: 'area' });
  private readonly edge = svg('path', { class: 'edge' });
  private readonly rate = svg('path', { class: 'rate' });
  private readonly label = svg('title');
  readonly element = svg(
    'svg',
    { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' },
    this.label,
    svg('path', { class: 'base', d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    this.area,
    this.edge,
    this.rate,
  );

  update(samples: readonly Sample[]): void {
    const end = samples.at(-1)?.at ?? 0;
    const depths = pointsOf(samples, end, ({ depth }) => depth);
    const rates = pointsOf(samples, end, ({ rate }) => rate);
    const line = path(depths);
    this.edge.setAttribute('d', line);
    this.area.setAttribute('d', line && `${line}L${depths.at(-1)![0]} ${HEIGHT}L${depths[0]![0]} ${HEIGHT}Z`);
    this.rate.setAttribute('d', path(rates));
    const most = Math.max(0, ...samples.map(({ depth }) => depth));
    this.label.textContent = `Waiting tasks over the last two minutes, at most ${most}; and tasks finished per second`;
  }
}

type Point = readonly [x: number, y: number];

function pointsOf(samples: readonly Sample[], end: number, read: (sample: Sample) => number | undefined): Point[] {
  const known = samples.flatMap((sample): [number, number][] => {
    const value = read(sample);
    return value === undefined ? [] : [[sample.at, value]];
  });
  const most = Math.max(1, ...known.map(([, value]) => value));
  const span = Math.min(MOST_SPAN_MS, Math.max(LEAST_SPAN_MS, end - (samples[0]?.at ?? end)));
  return known.map(([at, value]) => [round(WIDTH - ((end - at) / span) * WIDTH), round(HEIGHT - 2 - (value / most) * (HEIGHT - 6))]);
}

const path = (points: readonly Point[]): string => (points.length < 2 ? '' : `M${points.map(([x, y]) => `${x} ${y}`).join('L')}`);
const round = (value: number): number => Math.round(value * 10) / 10;
