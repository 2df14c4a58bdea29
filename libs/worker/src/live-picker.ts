import { type LanePicker, strictPicker, weightedPicker } from '@jetlane/protocol';
import type { CompiledOptions } from './options.js';

/** The picker that the options ask for, as they are at the moment: a changed definition gives a new one. */
export function livePicker(options: Pick<CompiledOptions, 'mode' | 'weights'>): LanePicker {
  let { mode, weights } = options;
  const make = () => (mode === 'strict' ? strictPicker : weightedPicker(weights));
  let picker = make();
  return {
    next: (buffered) => {
      if (options.mode !== mode || options.weights !== weights) {
        ({ mode, weights } = options);
        picker = make();
      }
      return picker.next(buffered);
    },
  };
}
