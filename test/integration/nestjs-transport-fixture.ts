import { JetStreamClient, type JetStreamClientOptions, JetStreamServer, type JetStreamServerOptions } from '@jetlane/nestjs/transport';
import type { INestMicroservice, Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { Installation } from './services-fixture.js';

/** A server, a client, and the services that a test file runs; `close` ends them all. */
export class TransportSite {
  private readonly services: INestMicroservice[] = [];

  private constructor(
    readonly installation: Installation,
    private readonly namespace: string,
    readonly client: JetStreamClient,
  ) {}

  static async open(namespace: string): Promise<TransportSite> {
    const installation = await Installation.open(namespace);
    const client = new JetStreamClient({ servers: installation.server.url, namespace });
    await client.connect();
    return new TransportSite(installation, namespace, client);
  }

  get connection() {
    return this.installation.connection;
  }

  private get link() {
    return { servers: this.installation.server.url, namespace: this.namespace };
  }

  /** Another client. */
  open(options: Partial<JetStreamClientOptions> = {}): JetStreamClient {
    return new JetStreamClient({ ...this.link, ...options });
  }

  /** A running service of these controllers. */
  async serve(service: string, controllers: Type[], options: Partial<JetStreamServerOptions> = {}): Promise<INestMicroservice> {
    const module = await Test.createTestingModule({ controllers }).compile();
    const retry = { attempts: 3, initialDelay: 1, maxDelay: 20 };
    const app = module.createNestMicroservice({
      strategy: new JetStreamServer({ ...this.link, service, retry, ...options }),
      logger: false,
    });
    await app.listen();
    this.services.push(app);
    return app;
  }

  emit(pattern: string, data: unknown, via: JetStreamClient = this.client): Promise<unknown> {
    return lastValueFrom(via.emit(pattern, data));
  }

  ask(pattern: unknown, data: unknown, via: JetStreamClient = this.client): Promise<unknown> {
    return firstValueFrom(via.send<unknown>(pattern, data));
  }

  async close(): Promise<void> {
    await Promise.all(this.services.map((app) => app.close()));
    await this.client.close();
    await this.installation.close();
  }
}

/** The strategy of a service. */
export const strategyOf = (app: INestMicroservice): JetStreamServer =>
  (app as unknown as { serverInstance: JetStreamServer }).serverInstance;
