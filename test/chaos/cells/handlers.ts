import { type Cell, problem } from '../cell.js';
import { effectsBefore } from '../ledger.js';
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
/** What processes that end held at most, and the effects in the second before. */
const perDeath: NonNullable<Cell['bound']> = ({ deaths, concurrency }, ledger) =>
  deaths.length * (concurrency + SURPLUS) + effectsBefore(ledger, deaths);
const enoughDeaths: NonNullable<Cell['judge']> = ({ deaths }) =>
  problem('fault', CRASHES - deaths.length, `only ${deaths.length} processes ended`);

export const handlerCrashes: Cell = {
  name: 'handler-crashes',
  breaks: 'handlers that end their process at their first delivery',
  respawn: true,
  workMs: () => 20,
  mix: ({ rate, seconds }) => {
    const every = Math.floor((rate * seconds) / CRASHES);
    return [{ every, at: Math.floor(every / 2), data: { does: 'crash' } }];
  },
  fault: (scene) => scene.mark(),
  bound: perDeath,
  judge: enoughDeaths,
  controls: [{ without: 'the ack comes after the run', shows: 'lost', worker: ['ack-last'] }],
};

/** In hand of each worker when one dies. What stood beside two deaths runs one at a time: many long runs would take minutes. */
const BESIDE = 100;

/** It must be given up, and what stood beside it must not. */
export const handlerPoison: Cell = {
  name: 'handler-poison',
  breaks: 'a handler that ends its process whenever it runs, up to 100 other tasks in hand',
  respawn: true,
  concurrency: () => BESIDE,
  // One worker alone can do all of it.
  workMs: ({ rate }) => Math.min(200, Math.floor((1000 * BESIDE) / rate)),
  mix: ({ rate, seconds }) => [{ every: 1, at: Math.round(rate * seconds * 0.3), once: true, data: { does: 'poison' }, dead: true }],
  fault: (scene) => scene.mark(),
  bound: perDeath,
  judge: enoughDeaths,
  controls: [{ without: 'the ack comes after the run', shows: 'lost', worker: ['ack-last'] }],
};
