import { ApiError, getStats, type QueueView, type StatsView } from './api.js';
import { h, setText } from './dom.js';
import { formatCount, formatRate, formatSpan } from './format.js';
import { keyForm } from './key-form.js';
import { notice } from './notice.js';
import type { Page, Pulse } from './page.js';
import { QueueCard } from './queue-card.js';
import { WorkersTable } from './workers-table.js';

const EXAMPLE = '{"user_id":"user-1","amount":100}';

/** All queues, live. */
export class QueuesPage implements Page {
  readonly title = 'Queues';
  readonly intervalMs = 1000;
  private readonly cards = new Map<string, QueueCard>();
  private readonly notices = h('div', { class: 'notices', role: 'status' });
  private readonly sums = new Map(['waiting', 'active', 'done / s', 'failed', 'oldest'].map((label) => [label, h('dd', {}, '–')]));
  private readonly summary = h(
    'dl',
    { class: 'summary' },
    ...[...this.sums].map(([label, value]) => h('div', {}, h('dt', {}, label), value)),
  );
  private readonly grid = h('div', { class: 'grid' });
  private readonly legend = h(
    'p',
    { class: 'legend' },
    h('span', { class: 'swatch' }, 'in the queue'),
    h('span', { class: 'swatch done' }, 'done per second'),
    'up to the last two minutes, each on its own scale',
  );
  private readonly workers = new WorkersTable();
  private readonly body = h('div', { hidden: true }, this.summary, this.legend, this.grid, this.workers.element, this.tryIt());
  readonly element = h('div', { class: 'page' }, h('h1', { class: 'hidden' }, 'Queues'), this.notices, this.body);
  private told = '';

  async refresh(): Promise<Pulse> {
    try {
      const stats = await getStats();
      this.show(stats);
      void this.workers.refresh();
      return 'live';
    } catch (error) {
      this.fail(error as ApiError);
      return 'lost';
    }
  }

  private show(stats: StatsView): void {
    this.body.hidden = false;
    this.body.classList.remove('stale');
    const names = new Set(stats.queues.map(({ queue_name }) => queue_name));
    for (const [name, card] of this.cards) {
      if (names.has(name)) continue;
      card.element.remove();
      this.cards.delete(name);
    }
    for (const queue of stats.queues) this.cardOf(queue.queue_name).update(stats.at, queue);
    this.summary.hidden = this.legend.hidden = stats.queues.length === 0;
    this.sum(stats.queues);
    this.tell(JSON.stringify([stats.missing, stats.queues.length > 0]), () => [
      ...stats.missing.map(({ service, detail }) => notice('warn', `${service} is not running`, `${upperFirst(detail)}.`)),
      ...(stats.queues.length
        ? []
        : [notice('info', 'No queue is defined yet', 'The queue-manager defines default, high_priority and low_priority when it starts.')]),
    ]);
  }

  private cardOf(name: string): QueueCard {
    const known = this.cards.get(name);
    if (known) return known;
    const card = new QueueCard(name);
    this.cards.set(name, card);
    const next = [...this.cards.keys()].sort().find((other) => other > name);
    this.grid.insertBefore(card.element, next === undefined ? null : this.cards.get(next)!.element);
    return card;
  }

  private sum(queues: readonly QueueView[]): void {
    const total = (read: (queue: QueueView) => number): number => queues.reduce((sum, queue) => sum + read(queue), 0);
    const rates = queues.map((queue) => this.cards.get(queue.queue_name)?.rate ?? queue.rates?.completed_per_second);
    const known = rates.filter((rate) => rate !== undefined);
    const ages = queues.flatMap(({ oldest_age_ms }) => oldest_age_ms ?? []);
    const values: Readonly<Record<string, string>> = {
      waiting: formatCount(total(({ depth, active }) => Math.max(0, depth - active))),
      active: formatCount(total(({ active }) => active)),
      'done / s': known.length ? formatRate(known.reduce((sum, rate) => sum + rate, 0)) : '–',
      failed: formatCount(total(({ failed }) => failed)),
      oldest: ages.length ? formatSpan(Math.max(...ages)) : 'none',
    };
    for (const [label, element] of this.sums) setText(element, values[label]!);
  }

  private fail(error: ApiError): void {
    this.body.classList.add('stale');
    this.tell(`${error.status} ${error.code}`, () => {
      if (error.status === 401) return [keyForm(error.message)];
      if (error.status === 0)
        return [
          notice(
            'bad',
            'The gateway does not answer',
            'The figures below are the last ones known. This page tries again every few seconds.',
          ),
        ];
      return [
        notice(
          'bad',
          error.code === 'not-connected' ? 'NATS is not reachable' : 'The figures cannot be read',
          `${upperFirst(error.message)}.`,
        ),
      ];
    });
  }

  /** Notices are only rewritten when they say something else: a form keeps what was typed, a screen reader stays calm. */
  private tell(what: string, make: () => HTMLElement[]): void {
    if (what === this.told) return;
    this.told = what;
    this.notices.replaceChildren(...make());
  }

  private tryIt(): HTMLElement {
    const command = `curl ${location.origin}/api/queue/example/credit-purchase \\\n  -H 'content-type: application/json' -d '${EXAMPLE}'`;
    return h(
      'details',
      { class: 'try' },
      h('summary', {}, 'Send a task'),
      h('pre', { tabindex: 0 }, command),
      h('p', {}, 'The answer holds a task_id: look it up above. All routes: ', h('a', { href: '/docs' }, 'API'), '.'),
    );
  }
}

const upperFirst = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
