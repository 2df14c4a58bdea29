import { join } from 'node:path';
import { Child } from '../support/child.js';
import type { AuditState, ProducerInput, WorkerInput } from './programs/inputs.js';

const PROGRAMS = 'test/chaos/programs';
const PATIENCE_MS = 60_000;

/** The process that keeps what is confirmed and what is done. */
export class Audit {
  private constructor(
    private readonly child: Child,
    readonly socket: string,
    readonly file: string,
  ) {}

  static async start(dir: string, name: string): Promise<Audit> {
    const socket = join(dir, `${name}.sock`);
    const file = join(dir, `${name}.log`);
    const child = await Child.start(`${PROGRAMS}/audit.ts`, { socket, file });
    await child.said('started', 1, PATIENCE_MS);
    return new Audit(child, socket, file);
  }

  state(): Promise<AuditState> {
    return this.child.ask<AuditState>('state');
  }

  end(): Promise<void> {
    return this.child.end();
  }
}

export class Producer {
  private constructor(private readonly child: Child) {}

  static async start(input: ProducerInput): Promise<Producer> {
    const child = await Child.start(`${PROGRAMS}/producer.ts`, input);
    await child.said('started', 1, PATIENCE_MS);
    return new Producer(child);
  }

  go(): void {
    this.tell({ go: true });
  }

  /** Sets its clock ahead, in ms. */
  setClock(ms: number): void {
    this.tell({ clock: ms });
  }

  /** A few tasks beside the load. @param ms length of each run */
  more(count: number, options: { readonly doomed?: boolean; readonly ms?: number } = {}): void {
    this.tell({ count, ...options });
  }

  /** Tasks and time of the load, once it is all confirmed or refused. */
  async done(): Promise<{ submitted: number; ms: number }> {
    await this.child.said('done', 1, 20 * PATIENCE_MS);
    const [{ submitted, ms }] = this.child.of('done') as unknown as [{ submitted: number; ms: number }];
    return { submitted, ms };
  }

  get finished(): boolean {
    return this.child.of('done').length > 0;
  }

  end(): Promise<void> {
    return this.child.end();
  }

  private tell(order: object): void {
    this.child.tell(JSON.stringify(order));
  }
}

/** A worker process, as long as it lives. */
export class WorkerProcess {
  private gone = false;

  private constructor(
    readonly name: string,
    private readonly child: Child,
  ) {
    void child.exited.then(() => {
      this.gone = true;
    });
  }

  static async start(input: WorkerInput): Promise<WorkerProcess> {
    const child = await Child.start(`${PROGRAMS}/worker.ts`, input);
    await child.said('started', 1, PATIENCE_MS);
    return new WorkerProcess(input.name, child);
  }

  get alive(): boolean {
    return !this.gone;
  }

  get exited(): Promise<unknown> {
    return this.child.exited;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** SIGSTOP, when what it was saying is said. */
  stop(): void {
    this.child.tell(JSON.stringify({ stop: true }));
  }

  setClock(ms: number): void {
    this.child.tell(JSON.stringify({ clock: ms }));
  }

  /** Deliveries that it has neither acknowledged nor handed back. */
  async held(): Promise<number> {
    const asked = this.child.of('held').length;
    this.child.tell(JSON.stringify({ report: true }));
    await this.child.said('held', asked + 1, PATIENCE_MS);
    return this.child.of('held').at(-1)!.count as number;
  }

  end(): Promise<void> {
    return this.child.end();
  }
}
