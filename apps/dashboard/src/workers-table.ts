import { getWorkers, type WorkerView } from './api.js';
import { h } from './dom.js';
import { formatCount, formatSpan } from './format.js';

/** Pause between two looks, and after one that failed, ms. */
const PAUSE_MS = 2000;
const FAILED_PAUSE_MS = 10_000;
const MOST_ROWS = 50;

const COLUMNS = ['worker', 'queue', 'host', 'busy', 'used', 'loop lag', 'memory', 'version'];

/** The workers, live or just lost. Without the queue-manager nobody knows them, and nothing is shown. */
export class WorkersTable {
  private readonly rows = h('tbody');
  private readonly more = h('p', { class: 'legend' });
  private readonly head = h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', { scope: 'col' }, name))));
  readonly element = h(
    'section',
    { class: 'panel workers', hidden: true, 'aria-label': 'Workers' },
    h('header', {}, h('h2', {}, 'Workers')),
    h('div', { class: 'scroll', tabindex: 0 }, h('table', {}, this.head, this.rows)),
    this.more,
  );
  private nextAt = 0;

  /** Looks again if it is time to. Never throws. */
  async refresh(): Promise<void> {
    if (performance.now() < this.nextAt) return;
    this.nextAt = performance.now() + PAUSE_MS;
    try {
      const { items, total } = await getWorkers(MOST_ROWS);
      this.rows.replaceChildren(...items.map(row));
      this.more.textContent = total > items.length ? `and ${formatCount(total - items.length)} more` : '';
      this.element.hidden = items.length === 0;
    } catch {
      this.element.hidden = true;
      this.nextAt = performance.now() + FAILED_PAUSE_MS;
    }
  }
}

function row(worker: WorkerView): HTMLElement {
  const { state, utilisation, loop_lag_ms, rss_mb } = worker;
  const name = state === 'lost' ? h('span', { class: 'badge' }, 'lost') : undefined;
  return h(
    'tr',
    { class: state },
    h('th', { scope: 'row' }, worker.worker, name),
    h('td', {}, worker.queue),
    h('td', {}, `${worker.host} · ${worker.pid}`),
    h('td', {}, `${worker.busy} of ${worker.slots}`),
    h('td', {}, utilisation === null ? '–' : `${Math.round(utilisation * 100)} %`),
    h('td', {}, loop_lag_ms === null ? '–' : formatSpan(loop_lag_ms)),
    h('td', {}, rss_mb === null ? '–' : `${formatCount(rss_mb)} MB`),
    h('td', {}, worker.version),
  );
}
