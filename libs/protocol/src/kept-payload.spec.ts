import { describe, expect, it } from 'vitest';
import { KEPT_PAYLOAD_LIMIT, keptPayload } from './record.js';

describe('a payload that a record keeps', () => {
  it('is text where it is text, byte for byte, and base64 where it is none', () => {
    const marked = Buffer.from('\ufeff{"n":1}');
    expect(keptPayload(marked, undefined)).toEqual({ text: '\ufeff{"n":1}' });
    expect(Buffer.from(keptPayload(marked, undefined)!.text!)).toEqual(marked);
    const bytes = Uint8Array.of(0xff, 0, 1);
    expect(keptPayload(bytes, 'a/b')).toEqual({ base64: '/wAB', contentType: 'a/b' });
    expect(keptPayload(new Uint8Array(0), undefined)).toEqual({ text: '' });
  });

  it('is left out where it is too large', () => {
    expect(keptPayload(new Uint8Array(KEPT_PAYLOAD_LIMIT), undefined)).toBeDefined();
    expect(keptPayload(new Uint8Array(KEPT_PAYLOAD_LIMIT + 1), undefined)).toBeUndefined();
  });
});
