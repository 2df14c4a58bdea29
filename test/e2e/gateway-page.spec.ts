import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serveCommand } from '@jetlane/nestjs/service';
import { FatalError } from '@jetlane/protocol';
import { waitUntil } from '@jetlane/testing';
import { Worker } from '@jetlane/worker';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LiveWorkersComponent } from '../../apps/queue-manager/src/live/live-component.js';
import { GatewayFixture, sendRaw } from '../integration/gateway-fixture.js';

const SOURCE = fileURLToPath(new URL('../../apps/dashboard', import.meta.url));
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true };

let gateway: GatewayFixture;
let worker: Worker;
let browser: Browser;
let dist: string;
const stops: (() => unknown)[] = [];

function findChromium(): string {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const paths = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  const found = paths.find((path) => existsSync(path));
  if (!found) throw new Error('no chromium found on PATH; npm test installs one where it may');
  return found;
}

beforeAll(async () => {
  dist = await mkdtemp(join(tmpdir(), 'jetlane-page-'));
  await build({ root: SOURCE, logLevel: 'error', build: { outDir: dist, emptyOutDir: true } });
  gateway = await GatewayFixture.start({}, undefined, { pageDir: dist });
  const handlers = {
    echo: (data: unknown) => ({ echo: data, html: '<img src=x onerror=alert(1)>' }),
    fail: () => {
      throw new FatalError('card <b>declined</b>');
    },
    wait: (_data: unknown, { signal }: { signal: AbortSignal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)),
  };
  worker = new Worker(gateway.admin, { queue: 'typed', handlers, concurrency: 4 });
  await worker.start();
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
});

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

afterAll(async () => {
  await browser.close();
  await worker.stop({ timeout: 100 });
  await gateway.stop();
  await rm(dist, { recursive: true, force: true });
});

/** A page whose errors are collected; answers of the API that are errors do not count. */
async function open(path: string, options: BrowserContextOptions = {}): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext(options);
  stops.push(() => context.close());
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on(
    'console',
    (message) => void (message.type() === 'error' && !message.text().includes('Failed to load resource') && errors.push(message.text())),
  );
  await page.goto(gateway.url + path);
  return { page, errors };
}

const enqueue = async (type: string, data: unknown = 1): Promise<string> =>
  (await gateway.enqueue({ queue_name: 'typed', task_type: type, task_data: data })).body.task_id as string;

/** What the page at `/` shows when analytics runs. */
function analytics(): () => void {
  let completed = 100;
  const outcomes = () => {
    completed += 50;
    return { completed, retry: 0, dead: 3, cancelled: 0 };
  };
  const percentiles = { p50: 1, p95: 12, p99: 30 };
  return serveCommand(gateway.admin, 'analytics', 'stats', async () => [
    {
      queue: 'default',
      window: { seconds: 10, outcomes: outcomes() },
      totals: outcomes(),
      waitMs: percentiles,
      runMs: percentiles,
      workers: 1,
      slots: 8,
      busy: 3,
    },
  ]);
}

describe('the queues', () => {
  it('shows every queue with its lanes, and keeps the figures current', async () => {
    const { page, errors } = await open('/');
    await page.waitForSelector('.card');
    expect(await page.locator('.card h2').allTextContents()).toEqual(['default', 'high_priority', 'low_priority', 'tiny', 'typed']);
    const low = page.getByRole('region', { name: 'Queue low_priority' });
    for (let i = 0; i < 3; i++) await gateway.enqueue({ queue_name: 'low_priority', task_type: 'x', task_data: i, priority: 'HIGH' });
    expect(await waitUntil(async () => (await low.locator('.lane.high .count').textContent()) === '3', { timeoutMs: 5000 })).toBe(true);
    expect(await low.locator('.figure').textContent()).toBe('3');
    expect(await waitUntil(async () => /^M/.test((await low.locator('.edge').getAttribute('d')) ?? ''), { timeoutMs: 5000 })).toBe(true);
    expect(await page.locator('#pulse').textContent()).toBe('live');
    expect(errors).toEqual([]);
  });

  it('says which service is missing, and fills in when it comes', async () => {
    const { page } = await open('/');
    await page.getByText('analytics is not running').waitFor();
    const card = page.getByRole('region', { name: 'Queue default' });
    expect(await card.locator('.facts dd').nth(1).textContent()).toBe('–');
    stops.push(analytics());
    await page.getByText('analytics is not running').waitFor({ state: 'detached' });
    expect(await waitUntil(async () => Number(await card.locator('.facts dd').nth(1).textContent()) > 0, { timeoutMs: 5000 })).toBe(true);
    expect(await card.locator('.facts dd').nth(5).textContent()).toBe('3 of 8');
  });

  it('shows the workers while the queue-manager knows them', async () => {
    const { page, errors } = await open('/');
    await page.waitForSelector('.card');
    expect(await page.locator('.workers').isVisible()).toBe(false);
    const live = new LiveWorkersComponent(gateway.admin);
    await live.start();
    stops.push(() => live.stop());
    await page.reload();
    await page.locator('.workers tbody tr').waitFor();
    expect(await page.locator('.workers tbody tr').allTextContents()).toEqual([expect.stringContaining(`${worker.name}typed`)]);
    expect(errors).toEqual([]);
  });

  it('rests in a background tab', async () => {
    const { page } = await open('/');
    await page.waitForSelector('.card');
    const calls: string[] = [];
    page.on('request', (request) => calls.push(request.url()));
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await waitUntil(async () => (await page.locator('#pulse').textContent()) === 'paused', { timeoutMs: 3000 });
    calls.length = 0;
    await page.waitForTimeout(2500);
    expect(calls).toEqual([]);
  });

  it.each([
    ['light', {}],
    ['dark', {}],
    ['light', PHONE],
    ['dark', PHONE],
  ] as const)('fits its window and is legible: %s, %j', async (colorScheme, size) => {
    const { page } = await open('/', { colorScheme, ...size });
    await page.waitForSelector('.card');
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    const [background, ink] = await page.evaluate(() => [
      getComputedStyle(document.body).backgroundColor,
      getComputedStyle(document.body).color,
    ]);
    const brightness = (color: string | undefined): number =>
      (color ?? '')
        .match(/\d+/g)!
        .slice(0, 3)
        .reduce((sum, part) => sum + Number(part), 0) / 3;
    expect(Math.sign(brightness(background) - brightness(ink))).toBe(colorScheme === 'light' ? 1 : -1);
    expect(Math.abs(brightness(background) - brightness(ink))).toBeGreaterThan(150);
  });
});

describe('a task', () => {
  it('is looked up by keyboard alone, with its way and its result', async () => {
    const id = await enqueue('echo', { a: 1 });
    const { page, errors } = await open('/');
    await page.waitForSelector('.card');
    await page.keyboard.press('/');
    await page.keyboard.type(id);
    await page.keyboard.press('Enter');
    await page.locator('.state.completed').waitFor();
    expect(new URL(page.url()).hash).toBe(`#/task/${id}`);
    expect(await page.locator('.hops .hop').allTextContents()).toEqual(['created', 'stored', 'fetched', 'started', 'finished']);
    expect(await page.locator('.hops .gap').allTextContents()).toEqual([
      '',
      ...['to the stream', 'waiting', 'in the worker', 'running'].map((phase) =>
        expect.stringMatching(new RegExp(`^\\+ \\d+ ms${phase}$`)),
      ),
    ]);
    expect(await page.locator('.way .stretch').count()).toBe(4);
    expect(await page.locator('pre').textContent()).toContain('"a": 1');
    expect(await page.locator('#main img').count()).toBe(0);
    expect(errors).toEqual([]);
  });

  it('shows why it is dead', async () => {
    const id = await enqueue('fail');
    const { page } = await open(`/#/task/${id}`);
    await page.locator('.state.dead').waitFor();
    expect(await page.locator('.failure pre').textContent()).toBe('card <b>declined</b>');
  });

  it('is followed until it is finished', async () => {
    const { body } = await gateway.enqueue({ queue_name: 'typed', task_type: 'echo', task_data: 1, delay: '1h' });
    const { page } = await open(`/#/task/${body.task_id}`);
    await page.getByText(/It is due in/).waitFor();
    await page.goto(`${gateway.url}/#/task/${await enqueue('wait')}`);
    await page.locator('.state.running').waitFor();
    await page.locator('.stretch.open').waitFor();
  });

  it.each([
    ['default.nobody', 'No task of this id is known'],
    ['nonsense', 'This is not a task id'],
    ['%E0%A4%A', 'This is not a task id'],
  ])('%s: %s', async (id, text) => {
    const { page, errors } = await open(`/#/task/${id}`);
    await page.getByText(text).waitFor();
    expect(errors).toEqual([]);
  });
});

it('says when the gateway or NATS is away, keeps the last figures, and comes back', async () => {
  const { page } = await open('/');
  await page.waitForSelector('.card');
  gateway.nats.kill('SIGKILL');
  await page.getByText('NATS is not reachable').waitFor();
  expect(await page.locator('.card').count()).toBe(5);
  await page.context().setOffline(true);
  await page.getByText('The gateway does not answer').waitFor();
  expect(await page.locator('#pulse').textContent()).toBe('no connection');
  await page.context().setOffline(false);
  await gateway.nats.exited;
  await gateway.nats.start();
  await page.locator('.pulse.live').waitFor();
});

it('asks for a key where one is needed, and uses it', async () => {
  const locked = await GatewayFixture.start({ JETLANE_API_KEYS: 'open-sesame' }, gateway.nats, { pageDir: dist });
  stops.push(() => locked.stop({ keepNats: true }));
  const { page } = await open('/');
  await page.goto(locked.url);
  await page.getByLabel('API key').fill('open-sesame');
  await page.getByRole('button', { name: 'Use it' }).click();
  await page.waitForSelector('.card');
});

it('is served with headers for caches and with a strict policy', async () => {
  const index = await gateway.get('/');
  expect(index.headers.get('cache-control')).toBe('no-cache');
  expect(index.headers.get('content-security-policy')).toContain("script-src 'self'");
  expect(index.text).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
  const [script] = /\/assets\/[^"]+\.js/.exec(index.text)!;
  expect((await gateway.get(script)).headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
  const again = await sendRaw(gateway.port, `GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: ${index.headers.get('etag')}\r\n\r\n`);
  expect(again).toMatch(/^HTTP\/1\.1 304 /);
});

it('shows the documentation without any foreign file', async () => {
  const { page, errors } = await open('/docs');
  const hosts = new Set<string>();
  page.on('request', (request) => hosts.add(new URL(request.url()).host));
  await page.reload();
  await page.getByText('/api/queue/enqueue', { exact: true }).first().waitFor();
  expect([...hosts]).toEqual([new URL(gateway.url).host]);
  expect(errors).toEqual([]);
});
