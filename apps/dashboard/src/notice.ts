import { h } from './dom.js';

/** A message that stands above the content. */
export function notice(tone: 'info' | 'warn' | 'bad', title: string, text: string): HTMLElement {
  return h('div', { class: `notice ${tone}` }, h('strong', {}, title), h('p', {}, text));
}
