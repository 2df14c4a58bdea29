import type { Connection } from '@jetlane/jetstream';
import { getQueueToken, JetlaneModule, type JetlaneModuleOptions, type Queue } from '@jetlane/nestjs';
import type { RetryPolicy } from '@jetlane/protocol';
import { Scheduler } from '@jetlane/worker/scheduler';
import type { INestApplicationContext, ModuleMetadata } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { eventually, Installation, keepingLog } from './services-fixture.js';

export { eventually };

/** The first failure is the last. */
export const ONCE: RetryPolicy = { attempts: 1 };
/** Retries at once. */
export const QUICK: RetryPolicy = { attempts: 3, initialDelay: 1, maxDelay: 5 };

/** A server and the applications that a test file runs on it; `close` ends them all. */
export class NestSite {
  private readonly apps: INestApplicationContext[] = [];
  private scheduler: Scheduler | undefined;
  private counter = 0;

  private constructor(
    readonly installation: Installation,
    readonly namespace: string,
  ) {}

  static async open(namespace: string): Promise<NestSite> {
    return new NestSite(await Installation.open(namespace), namespace);
  }

  get connection(): Connection {
    return this.installation.connection;
  }

  /** Options that lead to this server. */
  get options(): JetlaneModuleOptions {
    return { servers: this.installation.server.url, namespace: this.namespace, shutdownTimeout: 0 };
  }

  /** Retries need somebody who moves what is due. */
  async schedule(): Promise<void> {
    this.scheduler = new Scheduler(await this.installation.link(), { log: keepingLog() });
    await this.scheduler.start();
  }

  /** A name for a queue that no other test uses. */
  queueName(): string {
    return `q${++this.counter}`;
  }

  /** A started application with `JetlaneModule.forRoot` and the given parts. */
  async app(parts: ModuleMetadata, options: JetlaneModuleOptions = {}): Promise<INestApplicationContext> {
    return this.start({ ...parts, imports: [JetlaneModule.forRoot({ ...this.options, ...options }), ...(parts.imports ?? [])] });
  }

  /** The queue of a started application with one queue, whose tasks have one attempt, and these providers. */
  async queueOf(providers: NonNullable<ModuleMetadata['providers']>, name: string): Promise<Queue> {
    const app = await this.app({ imports: [JetlaneModule.registerQueue({ name, retry: ONCE })], providers });
    return app.get<Queue>(getQueueToken(name));
  }

  /** A started application of exactly these parts. */
  async start(parts: ModuleMetadata): Promise<INestApplicationContext> {
    const app = await Test.createTestingModule(parts).compile();
    this.apps.push(app);
    await app.init();
    return app;
  }

  /** Ends one application before the others. */
  async stop(app: INestApplicationContext): Promise<void> {
    this.apps.splice(this.apps.indexOf(app), 1);
    await app.close();
  }

  async close(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.close()));
    await this.scheduler?.stop();
    await this.installation.close();
  }
}
