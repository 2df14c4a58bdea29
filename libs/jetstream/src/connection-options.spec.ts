import { describe, expect, it } from 'vitest';
import { natsOptions, reconnectDelay, serverNames } from './connection-options.js';

describe('reconnecting', () => {
  it('delays grow with jitter up to two seconds, for ever', () => {
    const delay = reconnectDelay();
    const delays = Array.from({ length: 500 }, delay);
    expect(delays[0]).toBeLessThanOrEqual(100);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(50);
    expect(Math.max(...delays)).toBeLessThanOrEqual(2050);
    expect(new Set(delays.slice(10)).size).toBeGreaterThan(400);
    expect(natsOptions({})).toMatchObject({ maxReconnectAttempts: -1, ignoreAuthErrorAbort: true });
  });
});

describe('server URLs', () => {
  it('are shown without what must stay secret, and read with it', () => {
    const servers = 'nats://jet:p%40ss:1@one:4222, tls://two:4223 ,three';
    expect(serverNames({ servers })).toEqual(['nats://one:4222', 'tls://two:4223', 'three']);
    expect(natsOptions({ servers })).toMatchObject({ user: 'jet', pass: 'p@ss:1' });
    expect(natsOptions({ servers: ['nats://t0ken@one'] })).toMatchObject({ servers: ['nats://one'], token: 't0ken' });
    expect(natsOptions({ servers, user: 'other', password: 'x' })).toMatchObject({ user: 'other', pass: 'x' });
    expect(serverNames({ servers: ' , ' })).toEqual(['nats://127.0.0.1:4222']);
  });
});
