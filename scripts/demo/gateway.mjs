import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { DemoError } from './options.mjs';

const FINAL = new Set(['completed', 'dead', 'cancelled']);
const RETRY_STATUS = new Set([408, 429, 500, 502, 503, 504]);
const REQUEST_TIMEOUT_MS = 60_000;
const GREETING_MS = 10_000;

/** An answer that is worth asking again for: the gateway is away, busy or its queue is full. */
class TryAgain extends Error {
  constructor(message, afterMs) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** The gateway's HTTP API, with patience: what may succeed later is repeated, with the same task ids. */
export class Gateway {
  /**
   * @param {URL} url
   * @param {{apiKey?: string, patienceMs: number, onTrouble: (message: string | undefined) => void}} options
   *   `patienceMs`: how long one call is repeated; `onTrouble`: told what a repetition waits for, then `undefined`
   */
  constructor(url, { apiKey, patienceMs, onTrouble }) {
    this.url = url;
    this.patienceMs = patienceMs;
    this.onTrouble = onTrouble;
    this.headers = apiKey ? { authorization: `Bearer ${apiKey}` } : {};
  }

  /** Checks that a gateway is there and lets us in. */
  async greet() {
    const missing = () =>
      new DemoError(
        `no Jetlane gateway answers at ${this.url.origin}; start the platform with "npm start", or name another one with --url`,
        2,
      );
    await this.#patiently(() => this.#call('GET', '/health/live'), Math.min(GREETING_MS, this.patienceMs), missing);
    await this.#patiently(() => this.#call('GET', '/api/queue/stats'), Math.min(GREETING_MS, this.patienceMs));
  }

  /**
   * Sends tasks, one JSON text per line, and resolves when all of them are stored.
   * @param {string[]} lines
   * @returns {Promise<{duplicates: number}>}
   */
  async enqueueBatch(lines) {
    return await this.#patiently(async () => {
      const body = Readable.from(lines.map((line) => `${line}\n`));
      const answer = await this.#call('POST', '/api/queue/enqueue/batch', body, 'application/x-ndjson');
      if (answer.failed > 0) throw batchError(answer);
      return { duplicates: answer.duplicates ?? 0 };
    });
  }

  /**
   * Runs one task and waits for its outcome.
   * @returns {Promise<unknown>} its result, or `undefined` when there is none within `waitMs`
   */
  async runTask(type, data, waitMs) {
    const body = JSON.stringify({ queue_name: 'high_priority', task_type: type, task_data: data, priority: 'CRITICAL' });
    const path = `/api/queue/enqueue?wait=${waitMs}ms`;
    const answer = await this.#patiently(() => this.#call('POST', path, body, 'application/json'));
    if (!FINAL.has(answer.state)) return undefined;
    const outcome = 'result' in answer || 'error' in answer ? answer : await this.status(answer.task_id);
    if (outcome?.state === 'completed') return outcome.result;
    throw new DemoError(`the ${type} task ${answer.task_id} ended as ${answer.state}: ${outcome?.error?.message ?? 'no reason given'}`);
  }

  /** What is known of a task; `undefined` when nothing is. */
  async status(taskId) {
    return await this.#patiently(() => this.#call('GET', `/api/queue/status/${encodeURIComponent(taskId)}`, undefined, undefined, [404]));
  }

  async #call(method, path, body, type, absent = []) {
    const response = await this.#fetch(method, path, body, type);
    if (absent.includes(response.status)) return undefined;
    const answer = await readJson(response);
    if (response.ok) return answer;
    const message = `the gateway answers ${response.status} ${answer?.code ?? ''} ${answer?.detail ?? answer?.title ?? ''}`.trimEnd();
    if (RETRY_STATUS.has(response.status)) throw new TryAgain(message, retryAfterMs(response));
    throw new DemoError(`${message} (${method} ${path})`, 2);
  }

  async #fetch(method, path, body, type) {
    const headers = { ...this.headers, accept: 'application/json', ...(type && { 'content-type': type }) };
    try {
      const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
      return await fetch(new URL(path, this.url), { method, headers, body, signal, ...(body && { duplex: 'half' }) });
    } catch (error) {
      throw new TryAgain(`the gateway cannot be reached (${error.cause?.code ?? error.cause?.message ?? error.message})`);
    }
  }

  async #patiently(run, patienceMs = this.patienceMs, giveUp = (error) => new DemoError(error.message, 2)) {
    const deadline = Date.now() + patienceMs;
    for (let round = 0; ; round++) {
      try {
        const value = await run();
        if (round > 0) this.onTrouble(undefined);
        return value;
      } catch (error) {
        if (!(error instanceof TryAgain)) throw error;
        if (Date.now() > deadline) throw giveUp(error);
        this.onTrouble(error.message);
        await sleep(error.afterMs ?? Math.min(5000, 250 * 2 ** round));
      }
    }
  }
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    if (response.ok) throw new TryAgain(`the gateway's answer broke off (${error.message})`);
    return undefined;
  }
}

function retryAfterMs(response) {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  return Number.isFinite(seconds) ? Math.max(100, seconds * 1000) : undefined;
}

const RETRY_CODES = new Set([
  'queue-full',
  'publisher-overloaded',
  'publish-timeout',
  'request-timeout',
  'not-connected',
  'connection-closed',
  'no-responders',
  'service-unavailable',
  'jetstream-api',
]);

/** Some lines were not stored. All are sent again: those that were are recognised by their ids. */
function batchError({ failed, errors = [] }) {
  const [first] = errors;
  const message = `${failed} lines were not accepted; line ${first?.line}: ${first?.code} ${first?.detail ?? ''}`.trimEnd();
  const curable = errors.every(({ code }) => RETRY_CODES.has(code));
  return curable ? new TryAgain(message) : new DemoError(message);
}
