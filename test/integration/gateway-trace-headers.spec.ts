import { leaderGet } from '@jetlane/jetstream';
import { HEADER, headerValue } from '@jetlane/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GatewayFixture } from './gateway-fixture.js';

const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start();
});
afterAll(() => gateway.stop());

/** What is kept of a caller's trace, with no SDK in this process. */
async function kept(headers: Record<string, string>): Promise<(string | undefined)[]> {
  const { status, body } = await gateway.enqueue({ queue_name: 'default', task_type: 'x', task_data: 1 }, headers);
  expect(status).toBe(202);
  const [, key] = String(body.task_id).split('.');
  const { admin } = gateway;
  const stored = await leaderGet(admin, admin.names.lane('default', 'normal').stream, admin.names.task('default', 'normal', key!));
  return [headerValue(stored!.headers, HEADER.traceparent), headerValue(stored!.headers, HEADER.tracestate)];
}

it('a trace travels on with a state of up to 512 characters, and without a longer one or one that is no text', async () => {
  const longest = `vendor=${'x'.repeat(505)}`;
  expect(await kept({ traceparent: TRACEPARENT, tracestate: longest })).toEqual([TRACEPARENT, longest]);
  expect(await kept({ traceparent: TRACEPARENT, tracestate: `${longest}x` })).toEqual([TRACEPARENT, undefined]);
  expect(await kept({ traceparent: TRACEPARENT, tracestate: 'vendor=\u00e9' })).toEqual([TRACEPARENT, undefined]);
});

it.each([`${TRACEPARENT}0`, TRACEPARENT.replace('00-', '01-'), `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, 'x'.repeat(4000)])(
  'what is no traceparent is left out with its state: %s',
  async (traceparent) => {
    expect(await kept({ traceparent, tracestate: 'vendor=1' })).toEqual([undefined, undefined]);
  },
);
