import { setApiKey } from './api.js';
import { h } from './dom.js';

/** Asks for an API key and loads the page anew with it. */
export function keyForm(detail: string): HTMLElement {
  const input = h('input', { id: 'api-key', type: 'password', required: true, autocomplete: 'off', 'aria-describedby': 'api-key-why' });
  const form = h(
    'form',
    { class: 'notice info key' },
    h('label', { for: 'api-key' }, 'API key'),
    h('p', { id: 'api-key-why' }, `This gateway asks for a key (${detail}). It is kept until you close this tab.`),
    h('div', {}, input, h('button', {}, 'Use it')),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    setApiKey(input.value);
    location.reload();
  });
  return form;
}
