import { HOPS, type Hop, type TaskView } from './api.js';
import { h } from './dom.js';
import { formatClock, formatDate, formatSpan } from './format.js';

/** What happens between two hops. */
const PHASES: Readonly<Record<Exclude<Hop, 'created'>, string>> = {
  stored: 'to the stream',
  fetched: 'waiting',
  started: 'in the worker',
  finished: 'running',
};

/** One stretch of the way. `open`: it has not ended. */
interface Stretch {
  readonly hop: Exclude<Hop, 'created'>;
  readonly ms: number;
  readonly open: boolean;
}

/** A task's way as a drawn bar, and every hop with its time. */
export function timeline(task: TaskView, now: number): HTMLElement {
  const stretches = stretchesOf(task, now);
  const total = stretches.reduce((sum, { ms }) => sum + ms, 0);
  const first = HOPS.map((hop) => task.at[hop]).find((at) => at !== undefined);
  if (first === undefined)
    return h('section', { class: 'panel' }, h('h2', {}, 'Timeline'), h('p', { class: 'quiet' }, 'No hop of this task is known.'));
  return h(
    'section',
    { class: 'panel' },
    h('header', {}, h('h2', {}, 'Timeline'), h('p', { class: 'quiet' }, `${formatSpan(total)} in all, on ${formatDate(first)}`)),
    h(
      'div',
      { class: 'way', role: 'img', 'aria-label': stretches.map(({ hop, ms }) => `${PHASES[hop]} ${formatSpan(ms)}`).join(', ') },
      ...stretches.map((stretch) => bar(stretch, total)),
    ),
    h('ol', { class: 'hops' }, ...hopRows(task, stretches)),
  );
}

function stretchesOf({ at, state }: TaskView, now: number): Stretch[] {
  const stretches: Stretch[] = [];
  let before = at.created;
  for (const hop of HOPS.slice(1) as Exclude<Hop, 'created'>[]) {
    const time = at[hop];
    if (before !== undefined && time !== undefined) stretches.push({ hop, ms: Math.max(0, time - before), open: false });
    before = time ?? before;
  }
  const next = openHop(at, state);
  if (next && before !== undefined) stretches.push({ hop: next, ms: Math.max(0, now - before), open: true });
  return stretches;
}

function openHop(at: TaskView['at'], state: string): Exclude<Hop, 'created'> | undefined {
  if (state === 'running') return 'finished';
  if (state === 'queued' && at.fetched === undefined) return 'fetched';
  return undefined;
}

function bar({ hop, ms, open }: Stretch, total: number): HTMLElement {
  const part = h(
    'div',
    { class: `stretch ${hop}${open ? ' open' : ''}`, title: `${PHASES[hop]}: ${formatSpan(ms)}` },
    h('span', {}, formatSpan(ms)),
  );
  // Short stretches stay visible; long ones keep most of the room.
  part.style.flexGrow = String(total ? Math.max(ms / total, 0.02) : 1);
  return part;
}

function hopRows({ at }: TaskView, stretches: readonly Stretch[]): HTMLElement[] {
  return HOPS.map((hop) => {
    const time = at[hop];
    const stretch = stretches.find((candidate) => candidate.hop === hop);
    const ended = stretch && !stretch.open;
    return h(
      'li',
      { class: `${hop}${time === undefined ? ' ahead' : ''}` },
      h('span', { class: 'hop' }, hop),
      h('span', { class: 'gap' }, ended ? `+ ${formatSpan(stretch.ms)}` : '', ended ? h('em', {}, PHASES[stretch.hop]) : undefined),
      h(
        'time',
        time === undefined ? {} : { datetime: new Date(time).toISOString() },
        time === undefined ? (stretch?.open ? `${PHASES[stretch.hop]} for ${formatSpan(stretch.ms)}` : 'not yet') : formatClock(time),
      ),
    );
  });
}
