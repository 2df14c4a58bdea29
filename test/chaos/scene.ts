import { ensureQueue, provisionLane, removeQueue } from '@jetlane/jetstream';
import { createDatabase, migrate } from '@jetlane/postgres';
import type { QueueDefinition } from '@jetlane/protocol';
import { waitUntil } from '@jetlane/testing';
import { sql } from 'kysely';
import { LinkProxy } from '../support/link-proxy.js';
import { type Copy, serviceCopy, startCopy } from './copies.js';
import { Audit, Producer, WorkerProcess } from './processes.js';
import type { Load, Off, Setting } from './setting.js';
import { NAMESPACE, type Site } from './site.js';

const LANE = 'normal';

/** All that takes part in one run, and hands to break it with. */
export class Scene {
  audit!: Audit;
  producer!: Producer;
  readonly workers: WorkerProcess[] = [];
  /** When workers ended though nobody asked for it, ms since 1970. */
  readonly deaths: number[] = [];
  /** When things were broken, and what was in hand then. */
  readonly faults: { readonly at: number; readonly held: number }[] = [];
  /** The first worker's link, or that of both, where the cell asks for one. */
  tcp: LinkProxy | undefined;
  frames: LinkProxy | undefined;
  databaseUrl: string | undefined;
  /** Did what the cell wanted come about? */
  filled = false;
  /** Both copies of resiliency. */
  copies: readonly Copy[];
  private ending = false;
  private readonly restartsBefore: number;

  constructor(
    readonly site: Site,
    readonly setting: Setting,
    /** Undefined: everything is on. */
    readonly off: Off | undefined,
    readonly load: Load,
    readonly queue: string,
  ) {
    this.copies = site.resiliency.map(({ service, proxy }) => serviceCopy(service, proxy));
    this.restartsBefore = this.restarted;
  }

  /** How often services were started again since this run began. */
  get restarts(): number {
    return this.restarted - this.restartsBefore;
  }

  private get restarted(): number {
    return this.site.everything.reduce((sum, { restarts }) => sum + restarts, 0);
  }

  get doomedQueue(): string {
    return `${this.queue}x`;
  }

  get concurrency(): number {
    // One of the two must be able to do all of it alone.
    return this.setting.concurrency?.(this.load) ?? Math.max(100, Math.ceil((this.load.rate * this.workMs) / 1000));
  }

  get workMs(): number {
    return this.setting.workMs?.(this.load) ?? 0;
  }

  get definition(): QueueDefinition {
    return { name: this.queue, lease: this.load.leaseMs, ...this.setting.definition?.(this.load) };
  }

  /** Stream and consumer of the queue's lane. */
  get lane() {
    return this.site.connection.names.lane(this.queue, LANE);
  }

  get doomedLane() {
    return this.site.connection.names.lane(this.doomedQueue, LANE);
  }

  /** Everything but workers and producer. */
  async prepare(): Promise<void> {
    const { site, setting, off } = this;
    await site.healthy();
    await this.define(this.definition);
    if (this.mix.some(({ doomed }) => doomed)) await this.define(this.doomedDefinition);
    if (setting.database) this.databaseUrl = await this.openDatabase();
    if (setting.link === 'tcp') this.tcp = await LinkProxy.open(site.server.url);
    if (setting.link === 'frames') this.frames = await LinkProxy.open(site.url);
    this.audit = await Audit.start(site.dir, this.queue);
    if (off?.resiliency || setting.withoutResiliency) await this.stopResiliency();
    if (off?.resiliency && !setting.withoutResiliency) await this.startResiliency();
  }

  async start(): Promise<void> {
    const both = this.frames?.url;
    await Promise.all([this.openProducer(), this.startWorker('w1', this.tcp?.url ?? both), this.startWorker('w2', both)]);
  }

  /** Ends all that this run started, and starts what it stopped. */
  async close(): Promise<void> {
    this.ending = true;
    const { site } = this;
    await Promise.all([this.producer, this.audit, ...this.workers, ...this.copies].map((process) => process?.end()));
    await Promise.all(site.services('resiliency').map((service) => service.start()));
    await this.tcp?.close();
    await this.frames?.close();
    for (const queue of [this.queue, this.doomedQueue]) await removeQueue(site.connection, queue);
    await this.forget();
  }

  /** Starts a worker; the name is its only one. */
  async startWorker(name: string, url = this.site.url): Promise<WorkerProcess> {
    const worker = await WorkerProcess.start({
      ...this.common(url),
      off: this.off?.worker ?? [],
      name,
      definition: this.definition,
      concurrency: this.concurrency,
      ...(this.setting.timeoutMs === undefined ? {} : { timeoutMs: this.setting.timeoutMs }),
      ...(this.databaseUrl === undefined ? {} : { database: this.databaseUrl }),
    });
    this.workers.push(worker);
    void worker.exited.then(() => this.workerEnded(worker));
    return worker;
  }

  worker(name: string): WorkerProcess {
    return this.workers.find((worker) => worker.name === name)!;
  }

  /** Starts both copies of resiliency, after they were stopped; where the control says so, as processes without a protection. */
  async startResiliency(): Promise<void> {
    const off = this.off?.resiliency;
    this.copies = await Promise.all(
      this.site.resiliency.map(({ service, proxy }) => {
        if (off) return startCopy(proxy, off);
        return service.start().then(() => serviceCopy(service, proxy));
      }),
    );
  }

  /** Notes that something is being broken now, and what those hold who are hit. */
  async mark(...hit: readonly WorkerProcess[]): Promise<void> {
    const held = await Promise.all(hit.map((worker) => worker.held()));
    this.faults.push({ at: Date.now(), held: held.reduce((sum, count) => sum + count, 0) });
  }

  /** Waits for something that a fault needs; the run goes on without it after a while, and the verdict tells. */
  until(condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<boolean> {
    return waitUntil(condition, { timeoutMs, everyMs: 20 });
  }

  /** Makes the lane's consumer again, as somebody did who found it missing. */
  provision(): Promise<void> {
    return provisionLane(this.site.connection, this.definition, LANE);
  }

  get mix() {
    return this.setting.mix?.(this.load) ?? [];
  }

  /** On a cluster a stream that both copies of queue-manager make at the same time may not answer for a while: no fault of this run. */
  private async define(definition: QueueDefinition): Promise<void> {
    for (let left = this.site.clustered ? 5 : 0; ; left--) {
      try {
        return void (await ensureQueue(this.site.connection, definition));
      } catch (error) {
        if (left === 0) throw error;
      }
    }
  }

  private async stopResiliency(): Promise<void> {
    await Promise.all(this.site.services('resiliency').map((service) => service.stop()));
  }

  private get doomedDefinition(): QueueDefinition {
    return { name: this.doomedQueue, lease: 1000, maxDeliveries: 3 };
  }

  private common(url: string) {
    return { url, namespace: NAMESPACE, replicas: this.site.replicas, audit: this.audit.socket };
  }

  private async openProducer(): Promise<void> {
    const { queue, doomedQueue, workMs, mix, load } = this;
    this.producer = await Producer.start({
      ...this.common(this.site.url),
      off: this.off?.producer ?? [],
      queue,
      doomedQueue,
      rate: load.rate,
      seconds: load.seconds,
      workMs,
      mix,
      insist: this.setting.insist === true,
      gateways: this.site.services('gateway').map(({ url: gateway }) => gateway),
    });
  }

  private workerEnded(worker: WorkerProcess): void {
    if (this.ending) return;
    this.deaths.push(Date.now());
    if (this.setting.respawn) void this.startWorker(`${worker.name}_`).catch(() => undefined);
  }

  private async openDatabase(): Promise<string> {
    const { url } = await this.site.postgres();
    const admin = createDatabase(url, { maxConnections: 1 });
    await sql`create database ${sql.id(this.queue)}`.execute(admin);
    await admin.destroy();
    const own = new URL(url);
    own.pathname = `/${this.queue}`;
    const db = createDatabase(own.href, { maxConnections: 1 });
    await migrate(db);
    await sql`create table effects (task_key text not null)`.execute(db);
    await db.destroy();
    return own.href;
  }

  /** Definitions, records and dead letters of this run are of no use to the next. */
  private async forget(): Promise<void> {
    const { connection } = this.site;
    const { streams } = await connection.admin();
    const { names } = connection;
    for (const queue of [this.queue, this.doomedQueue]) {
      await streams.purge(names.taskStates, { filter: names.state(queue, '*') });
      await streams.purge(names.deadLetters, { filter: names.dead(queue, '*') });
      await streams.purge(names.schedules, { filter: names.timer(queue, '*') });
      await streams.purge(names.schedules, { filter: names.due(queue, LANE, '*') });
    }
  }
}
