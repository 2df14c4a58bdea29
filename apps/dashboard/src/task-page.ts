import { type ApiError, getTask, type TaskView } from './api.js';
import { h } from './dom.js';
import { formatClock, formatJson, formatSpan } from './format.js';
import { keyForm } from './key-form.js';
import { notice } from './notice.js';
import type { Page, Pulse } from './page.js';
import { timeline } from './timeline.js';

const FINAL = new Set(['completed', 'cancelled', 'dead']);
const HINTS: Readonly<Record<string, string>> = {
  'task-not-found':
    'It was never enqueued here, or its record has expired: records of finished tasks are kept for 24 hours unless the queue says otherwise.',
  'invalid-argument': 'A task id is the name of the queue, a dot, and the key: default.0qXb3…',
};

/** One task, looked up by id, followed until it is finished. */
export class TaskPage implements Page {
  readonly title: string;
  readonly intervalMs = 1000;
  private readonly content = h('div', { class: 'loading', 'aria-live': 'polite' }, 'Looking everywhere…');
  readonly element: HTMLElement;
  private shown = '';

  constructor(readonly id: string) {
    this.title = id || 'Task';
    this.element = h('div', { class: 'page task' }, h('p', { class: 'back' }, h('a', { href: '#/' }, '← All queues')), this.content);
  }

  async refresh(): Promise<Pulse> {
    try {
      const task = await getTask(this.id);
      const final = FINAL.has(task.state);
      // A task that moves is drawn anew every time: its bar grows.
      this.show(final ? JSON.stringify(task) : `${Date.now()}`, () => this.view(task));
      return final ? 'still' : 'live';
    } catch (error) {
      return this.fail(error as ApiError);
    }
  }

  private fail(error: ApiError): Pulse {
    const { status, code } = error;
    this.show(`${status} ${code}`, () => {
      if (status === 401) return [keyForm(error.message)];
      if (status === 404)
        return [h('h1', { class: 'id' }, this.id), notice('info', 'No task of this id is known', HINTS[code] ?? error.message)];
      if (status === 400) return [notice('info', 'This is not a task id', HINTS[code] ?? error.message)];
      return [
        h('h1', { class: 'id' }, this.id),
        notice('bad', 'The task cannot be looked up now', `${error.message} This page tries again every few seconds.`),
      ];
    });
    return status === 404 ? 'live' : status >= 400 && status < 500 ? 'still' : 'lost';
  }

  private show(what: string, make: () => (Node | string)[]): void {
    if (what === this.shown) return;
    this.shown = what;
    this.content.className = '';
    this.content.replaceChildren(...make());
  }

  private view(task: TaskView): Node[] {
    return [
      h('header', { class: 'title' }, h('h1', { class: 'id' }, task.task_id), h('span', { class: `state ${task.state}` }, task.state)),
      ...(task.state === 'scheduled' || task.state === 'retrying' ? [dueNotice(task)] : []),
      facts(task),
      timeline(task, Date.now()),
      ...outcome(task),
      ...history(task),
    ];
  }
}

function dueNotice({ at, state }: TaskView): HTMLElement {
  const due = at.scheduled_for;
  const what = state === 'retrying' ? 'The next attempt' : 'It';
  if (due === undefined) return notice('info', `${what} is due soon`, 'A timer of the server brings it into its lane.');
  const left = due - Date.now();
  return notice(
    'info',
    left > 0 ? `${what} is due in ${formatSpan(left)}` : `${what} is due now`,
    `At ${formatClock(due)} a timer of the server brings it into its lane.`,
  );
}

function facts(task: TaskView): HTMLElement {
  const rows: [string, string | undefined][] = [
    ['type', task.task_type],
    ['queue', task.queue_name],
    ['lane', task.lane],
    ['attempt', String(task.attempt)],
    ['publication', String(task.hop)],
    ['group', task.group],
    ['worker', task.worker],
    ['trace', task.trace_id],
  ];
  return h(
    'dl',
    { class: 'panel about' },
    ...rows.flatMap(([name, value]) =>
      value === undefined ? [] : [h('div', {}, h('dt', {}, name), h('dd', name === 'lane' ? { class: `lane-name ${value}` } : {}, value))],
    ),
  );
}

function outcome(task: TaskView): HTMLElement[] {
  const panels: HTMLElement[] = [];
  if (task.error || task.reason) {
    const { name, message, code } = task.error ?? { name: task.state, message: '', code: undefined };
    const why = [code, task.reason].filter((part, i, all) => part && all.indexOf(part) === i).join(' · ');
    panels.push(
      h(
        'section',
        { class: 'panel failure' },
        h('header', {}, h('h2', {}, name), h('p', { class: 'quiet' }, why)),
        h('pre', { tabindex: 0 }, message || `The task is ${task.state}.`),
      ),
    );
  }
  if ('result' in task)
    panels.push(h('section', { class: 'panel' }, h('h2', {}, 'Result'), h('pre', { tabindex: 0 }, formatJson(task.result))));
  return panels;
}

function history({ history }: TaskView): HTMLElement[] {
  if (history.length === 0) return [];
  const rows = history.map(({ attempt, at, name, message, worker }) =>
    h(
      'li',
      {},
      h('span', { class: 'attempt' }, `attempt ${attempt}`),
      h('div', {}, h('strong', {}, name), ' ', message),
      h('span', { class: 'quiet' }, [formatClock(at), worker].filter(Boolean).join(' · ')),
    ),
  );
  return [h('section', { class: 'panel' }, h('h2', {}, 'Attempts that failed'), h('ol', { class: 'attempts' }, ...rows))];
}
