import { type Connection, connect } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes, makeStream } from '../support/broker.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from '../support/wait-until.js';

let broker: Broker;
const links: Connection[] = [];
const proxies: LinkProxy[] = [];
beforeAll(async () => {
  broker = await Broker.start('watch');
});
afterAll(async () => {
  await Promise.all(links.map((link) => link.close()));
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await broker.stop();
});

async function throughProxy(): Promise<{ proxy: LinkProxy; link: Connection }> {
  const proxy = await LinkProxy.open(broker.server.url);
  const link = await connect({ servers: proxy.url, namespace: 'watch' });
  proxies.push(proxy);
  links.push(link);
  return { proxy, link };
}

const block = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

// One after the other: each blocks or floods this process.
describe('a link', () => {
  it('that is half open is rebuilt within 5 s, also when nobody takes what was written', async () => {
    const idle = await throughProxy();
    const busy = await throughProxy();
    await makeStream(await broker.connect(), 'flood', ['flood']);
    for (const { proxy } of [idle, busy]) proxy.freeze();
    const began = performance.now();
    // More than the buffers of the system hold.
    const stored = Array.from({ length: 40 }, () => busy.link.publish('flood', new Uint8Array(512 * 1024)));
    await eventually('both are new', () => idle.link.epoch === 2 && busy.link.epoch === 2);
    expect(performance.now() - began).toBeLessThan(6000);
    expect(await Promise.all(stored)).toHaveLength(40);
  });

  it('is not blamed for an event loop that is blocked, at once or again and again', async () => {
    const { link } = await throughProxy();
    block(4500);
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      block(700);
    }
    await link.flush();
    expect(link.epoch).toBe(1);
  });

  it('that is slow is alive as long as anything comes, however late the answer to a ping', async () => {
    const { proxy, link } = await throughProxy();
    const sender = await broker.connect();
    let heard = 0;
    link.subscribe('much', ({ data }) => {
      heard += data.length;
    });
    await link.flush();
    const fast = proxy.trickle(240_000);
    for (let i = 0; i < 12; i++) sender.send('much', bytes('x'.repeat(100_000)));
    await sender.flush();
    const began = performance.now();
    // Stands behind all of it.
    await link.flush();
    expect(performance.now() - began).toBeGreaterThan(4000);
    fast();
    expect(heard).toBe(1_200_000);
    expect(link.epoch).toBe(1);
  });
});
