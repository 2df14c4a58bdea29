import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { createHandlers, type Database } from '@jetlane/postgres';
import { taskContext } from './postgres-fixture.js';

/** How long a caller of a single task waits for its result. */
const WAIT_MS = 1000;

interface Line {
  readonly task_type: string;
  readonly task_data: unknown;
  readonly task_id?: string;
}

interface Task extends Line {
  readonly key: string;
  state: 'queued' | 'completed' | 'dead';
  result?: unknown;
  error?: { message: string };
}

/** What goes wrong on purpose, next time it can. */
export interface Faults {
  /** Break the connection in the middle of the batch, this many times, with the lines before stored. */
  hangUps?: number;
  /** Answer this many batches with 503. */
  unavailable?: number;
  /** Report this many lines as refused by a full queue. */
  fullLines?: number;
  /** The worker loses a purchase: what the demo must find. */
  loseEvery?: number;
  /** Handlers of purchases run twice for every n-th task. */
  repeatEvery?: number;
}

/**
 * The gateway's HTTP contract with a worker in one small process, so that the demo can be tried against every fault
 * at will. The whole platform meets the demo in the end-to-end tests.
 */
export class FaultyGateway {
  readonly tasks = new Map<string, Task>();
  /** How many callers waited for a task in vain. */
  unanswered = 0;
  readonly #waiting: Task[] = [];
  /** `work`: there may be something to do; `<key>`: the task has ended. */
  readonly #news = new EventEmitter().setMaxListeners(0);
  readonly #server = createServer((request, response) => void this.#route(request, response));
  #working = true;
  #seen = 0;

  constructor(
    private readonly db: Database,
    private readonly faults: Faults = {},
  ) {}

  async start(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Starts workers that run until `halt`; tasks that run at a halt are left for the next workers, as after a SIGKILL. */
  work(concurrency = 8): void {
    this.#working = true;
    const handlers = createHandlers(this.db);
    for (let i = 0; i < concurrency; i++) void this.#worker(handlers);
  }

  halt(): void {
    this.#working = false;
    this.#news.emit('work');
  }

  async stop(): Promise<void> {
    this.halt();
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #worker(handlers: ReturnType<typeof createHandlers>): Promise<void> {
    while (this.#working) {
      const task = this.#waiting.shift();
      if (!task) await once(this.#news, 'work');
      else await this.#run(handlers, task);
    }
  }

  async #run(handlers: ReturnType<typeof createHandlers>, task: Task): Promise<void> {
    const nth = task.task_type === 'credit_purchase' ? ++this.#seen : 1;
    if (this.faults.loseEvery && nth % this.faults.loseEvery === 0) {
      Object.assign(task, { state: 'dead', error: { message: 'lost on purpose' } });
      return void this.#news.emit(task.key);
    }
    const run = async () => await handlers[task.task_type]?.(task.task_data, taskContext(task.task_type, { key: task.key }));
    const results = await Promise.all(Array.from({ length: this.faults.repeatEvery && nth % this.faults.repeatEvery === 0 ? 2 : 1 }, run));
    if (!this.#working) this.#waiting.push(task);
    else {
      Object.assign(task, { state: 'completed', result: results[0] });
      this.#news.emit(task.key);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://gateway');
    const send = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(body));
    if (url.pathname === '/api/queue/enqueue/batch') await this.#batch(request, send);
    else if (url.pathname === '/api/queue/enqueue') send(202, await this.#single(request));
    else if (url.pathname.startsWith('/api/queue/status/')) {
      const task = this.tasks.get(url.pathname.split('.')[1] ?? '');
      send(task ? 200 : 404, task ?? { code: 'task-not-found' });
    } else send(200, {});
  }

  async #batch(request: IncomingMessage, send: (status: number, body: unknown) => void): Promise<void> {
    const hangUp = this.#takeFault('hangUps');
    let [line, duplicates, accepted] = [0, 0, 0];
    const errors: object[] = [];
    for await (const text of createInterface({ input: request })) {
      line++;
      if (hangUp && line === 50) return void request.destroy();
      if (this.#takeFault('fullLines')) errors.push({ line, code: 'queue-full', detail: 'queue "default" is full' });
      else if (this.#add(JSON.parse(text) as Line)) accepted++;
      else duplicates++;
    }
    if (this.#takeFault('unavailable')) send(503, { code: 'service-unavailable', detail: 'on purpose' });
    else send(202, { accepted, duplicates, failed: errors.length, errors });
  }

  #takeFault(name: 'hangUps' | 'fullLines' | 'unavailable'): boolean {
    const left = this.faults[name] ?? 0;
    this.faults[name] = left - 1;
    return left > 0;
  }

  async #single(request: IncomingMessage): Promise<object> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const task = this.#add(JSON.parse(Buffer.concat(chunks).toString()) as Line, true);
    const patience = { signal: AbortSignal.timeout(WAIT_MS) };
    if (task?.state === 'queued') await once(this.#news, task.key, patience).catch(() => this.unanswered++);
    return { task_id: `high_priority.${task?.key}`, state: task?.state, ...(task?.result !== undefined && { result: task.result }) };
  }

  #add(line: Line, first = false): Task | undefined {
    const key = line.task_id ?? taskContext(line.task_type).key;
    if (this.tasks.has(key)) return undefined;
    const task: Task = { ...line, key, state: 'queued' };
    this.tasks.set(key, task);
    if (first) this.#waiting.unshift(task);
    else this.#waiting.push(task);
    this.#news.emit('work');
    return task;
  }
}
