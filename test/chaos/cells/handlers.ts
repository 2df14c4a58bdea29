import { type Cell, problem } from '../cell.js';
import { SURPLUS } from './bounds.js';

/** Twenty a second at any rate, so that the controls have something to lose. */
const some = (rate: number): number => Math.max(5, Math.round(rate / 20));

export const handlerThrows: Cell = {
  name: 'handler-throws',
  breaks: 'handlers that throw in their first attempt',
  mix: ({ rate }) => [{ every: some(rate), at: 1, data: { does: 'throw' } }],
  fault: (scene) => scene.mark(),
  bound: () => 0,
  controls: [{ without: 'the retry is stored before the ack', shows: 'lost', worker: ['retry-stored'] }],
};

export const handlerHangs: Cell = {
  name: 'handler-hangs',
  breaks: 'handlers that never end in their first attempt',
  timeoutMs: 1000,
  // Few enough that slots are left without the protection, too.
  mix: ({ rate }) => [{ every: some(rate), at: 1, data: { does: 'hang' } }],
  fault: (scene) => scene.mark(),
  bound: () => 0,
  controls: [{ without: 'runs have a timeout', shows: 'stuck', worker: ['timeout'] }],
};

const CRASHES = 3;

export const handlerCrashes: Cell = {
  name: 'handler-crashes',
  breaks: 'handlers that end their process, one of them whenever it runs',
  respawn: true,
  concurrency: () => 50,
  mix: ({ rate, seconds }) => {
    const every = Math.floor((rate * seconds) / CRASHES);
    return [
      { every: 1, at: 7, once: true, data: { does: 'poison' }, dead: true },
      { every, at: Math.floor(every / 2), data: { does: 'crash' } },
    ];
  },
  fault: (scene) => scene.mark(),
  judge: ({ deaths }) => problem('fault', CRASHES - deaths, `only ${deaths} processes ended`),
  bound: ({ deaths, concurrency, load }) => deaths * (concurrency + SURPLUS + load.rate),
  controls: [{ without: 'the ack comes after the run', shows: 'lost', worker: ['ack-last'] }],
};
