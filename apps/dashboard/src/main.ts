import { setText } from './dom.js';
import type { Page, Pulse } from './page.js';
import { QueuesPage } from './queues-page.js';
import { TaskPage } from './task-page.js';

const TASK_ROUTE = '#/task/';
const WORDS: Readonly<Record<Pulse | 'asleep', string>> = { live: 'live', lost: 'no connection', still: 'up to date', asleep: 'paused' };
/** After a failure the next try comes later, up to this, in ms. */
const LONGEST_PAUSE_MS = 5000;

const main = document.querySelector('main')!;
const pulse = document.querySelector('#pulse')!;
const form = document.querySelector<HTMLFormElement>('#lookup')!;
const input = document.querySelector<HTMLInputElement>('#task-id')!;

let page: Page | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let failures = 0;

function open(): void {
  const first = page === undefined;
  page = location.hash.startsWith(TASK_ROUTE) ? new TaskPage(idOf(location.hash)) : new QueuesPage();
  input.value = page instanceof TaskPage ? page.id : '';
  document.title = `${page.title} · Jetlane`;
  main.replaceChildren(page.element);
  if (!first) main.focus({ preventScroll: true });
  failures = 0;
  void tick();
}

function idOf(hash: string): string {
  try {
    return decodeURIComponent(hash.slice(TASK_ROUTE.length)).trim();
  } catch {
    return hash.slice(TASK_ROUTE.length);
  }
}

async function tick(): Promise<void> {
  clearTimeout(timer);
  const shown = page;
  if (!shown || document.hidden) return say('asleep');
  const state = await shown.refresh();
  if (page !== shown) return;
  failures = state === 'lost' ? failures + 1 : 0;
  say(state);
  if (state === 'still' || document.hidden) return;
  timer = setTimeout(tick, Math.min(LONGEST_PAUSE_MS, shown.intervalMs * 2 ** Math.min(failures, 4)));
}

function say(state: Pulse | 'asleep'): void {
  setText(pulse, WORDS[state]);
  pulse.className = `pulse ${state}`;
}

window.addEventListener('hashchange', open);
document.addEventListener('visibilitychange', () => void tick());
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const id = input.value.trim();
  const target = id ? `${TASK_ROUTE}${encodeURIComponent(id)}` : '#/';
  if (location.hash === target) open();
  else location.hash = target;
});
document.addEventListener('keydown', (event) => {
  const typing = event.target instanceof HTMLElement && event.target.matches('input, textarea');
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  input.select();
});
open();
