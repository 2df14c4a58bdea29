import { LANES, type Lane, type LaneView, type QueueView } from './api.js';
import { h, setText } from './dom.js';
import { formatCount, formatRate, formatSpan } from './format.js';
import { Series } from './series.js';
import { Sparkline } from './sparkline.js';

const UNKNOWN = '–';
/** A bar is full at the deepest lane, but not below this: one task is not a crowd. */
const FULL_BAR = 20;

/** One queue, kept current in place. */
export class QueueCard {
  private readonly series = new Series();
  private readonly spark = new Sparkline();
  private readonly badge = h('span', { class: 'badge', hidden: true }, 'paused');
  private readonly depth = h('strong', { class: 'figure' }, '0');
  private readonly later = h('span', { class: 'later' });
  private readonly lanes = new Map(LANES.map((lane) => [lane, new LaneRow(lane)]));
  private readonly facts: Readonly<Record<string, HTMLElement>>;
  readonly element: HTMLElement;

  constructor(name: string) {
    const fact = (label: string, title: string) => {
      const value = h('dd');
      return { value, row: h('div', { title }, h('dt', {}, label), value) };
    };
    const facts = {
      active: fact('active', 'Handed to workers and not settled'),
      rate: fact('done / s', 'Tasks finished per second, over the last seconds'),
      wait: fact('wait p95', 'Time from stored to started, 95th percentile of the last minute'),
      oldest: fact('oldest', 'Age of the oldest task in the queue'),
      failed: fact('failed', 'Dead letters: tasks given up'),
      slots: fact('slots busy', 'Busy slots of all slots of the workers'),
    };
    this.facts = Object.fromEntries(Object.entries(facts).map(([key, { value }]) => [key, value]));
    this.element = h(
      'section',
      { class: 'card', 'aria-label': `Queue ${name}` },
      h('header', {}, h('h2', {}, name), this.badge),
      h(
        'div',
        { class: 'now' },
        h('p', { class: 'depth' }, this.depth, h('span', {}, 'in the queue'), this.later),
        h('div', { class: 'plot' }, this.spark.element),
      ),
      h('div', { class: 'lanes' }, ...LANES.map((lane) => this.lanes.get(lane)!.element)),
      h('dl', { class: 'facts' }, ...Object.values(facts).map(({ row }) => row)),
    );
  }

  /** Finished tasks per second lately, for the sum over all queues. */
  get rate(): number | undefined {
    return this.series.rate;
  }

  update(at: number, queue: QueueView): void {
    this.series.add(at, queue);
    this.spark.update(this.series.samples);
    this.badge.hidden = !queue.paused;
    setText(this.depth, formatCount(queue.depth));
    setText(this.later, `${formatCount(queue.scheduled)} scheduled`);
    const most = Math.max(FULL_BAR, ...LANES.map((lane) => queue.lanes[lane].depth));
    for (const lane of LANES) this.lanes.get(lane)!.update(queue.lanes[lane], most);
    this.updateFacts(queue);
  }

  private updateFacts(queue: QueueView): void {
    const rate = this.series.rate ?? queue.rates?.completed_per_second;
    const { workers, wait_ms } = queue;
    const set = (key: string, text: string, tone = ''): void => {
      const element = this.facts[key]!;
      setText(element, text);
      element.className = text === UNKNOWN ? 'unknown' : tone;
    };
    set('active', formatCount(queue.active));
    set('rate', rate === undefined ? UNKNOWN : formatRate(rate));
    set('wait', wait_ms ? formatSpan(wait_ms.p95) : UNKNOWN);
    set('oldest', queue.oldest_age_ms === null ? 'none' : formatSpan(queue.oldest_age_ms), queue.oldest_age_ms === null ? 'quiet' : '');
    set('failed', formatCount(queue.failed), queue.failed ? 'bad' : '');
    set(
      'slots',
      workers ? (workers.count ? `${workers.busy} of ${workers.slots}` : 'no worker') : UNKNOWN,
      workers && !workers.count && queue.depth ? 'bad' : '',
    );
  }
}

/** One lane: name, a bar of its depth, the number. */
class LaneRow {
  private readonly bar = h('i');
  private readonly count = h('span', { class: 'count' }, '0');
  readonly element: HTMLElement;

  constructor(lane: Lane) {
    this.element = h(
      'div',
      { class: `lane ${lane}` },
      h('span', { class: 'name' }, lane),
      h('span', { class: 'track' }, this.bar),
      this.count,
    );
  }

  update({ depth, oldest_age_ms }: LaneView, most: number): void {
    this.bar.style.width = depth ? `max(3px, ${(depth / most) * 100}%)` : '0';
    setText(this.count, formatCount(depth));
    this.element.title = oldest_age_ms === null ? 'empty' : `oldest waits for ${formatSpan(oldest_age_ms)}`;
  }
}
