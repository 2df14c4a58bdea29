import { InjectQueue, JetlaneModule, Queue, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import { JetStreamClient, JetStreamRecord, JetStreamServer } from '@jetlane/nestjs/transport';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { context, propagation, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Collector, type Span } from '../support/collector.js';
import { rejection } from '../support/wait-until.js';
import { eventually, NestSite, ONCE } from './nestjs-fixture.js';

/** Kinds as OTLP numbers them. */
const KIND = { server: 2, client: 3, producer: 4, consumer: 5 };
const UNSAMPLED = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00`;

let site: NestSite;
let collector: Collector;
let client: JetStreamClient;
let service: INestMicroservice;
let provider: NodeTracerProvider | undefined;

@TaskQueue('invoices')
class Invoices {
  @TaskHandler('invoice')
  invoice() {
    trace.getTracer('billing').startSpan('print').end();
  }
}

@Controller()
class Billing {
  readonly traceparents: (string | undefined)[] = [];

  constructor(@InjectQueue('invoices') private readonly queue: Queue) {}

  @MessagePattern('orders.create')
  async create(@Payload() order: { id: number }) {
    if (order.id < 0) throw Object.assign(new Error('no such order'), { code: 'no-order' });
    await firstValueFrom(client.emit('orders.created.7', order));
    return 'created';
  }

  @EventPattern<string>('orders.created.*')
  async created(@Payload() order: { id: number }) {
    await this.queue.enqueue('invoice', order);
  }

  @EventPattern<string>('orders.lost', { retry: { attempts: 2, initialDelay: 1, maxDelay: 1 } })
  lost() {
    throw new TypeError('nowhere to be found');
  }

  @EventPattern<string>('orders.quiet')
  quiet() {
    this.traceparents.push(trace.getActiveSpan()?.spanContext().traceId);
  }
}

function register(): void {
  provider = new NodeTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url: `${collector.url}/v1/traces` }))],
  });
  provider.register();
}

async function unregister(): Promise<void> {
  for (const api of [trace, context, propagation]) api.disable();
  await provider?.shutdown();
  provider = undefined;
}

beforeAll(async () => {
  site = await NestSite.open('transport-tracing');
  collector = await Collector.start();
  const link = { servers: site.installation.server.url, namespace: site.namespace };
  client = new JetStreamClient(link);
  const imports = [JetlaneModule.forRoot(site.options), JetlaneModule.registerQueue({ name: 'invoices', retry: ONCE })];
  const module = await Test.createTestingModule({ imports, controllers: [Billing], providers: [Invoices] }).compile();
  service = module.createNestMicroservice({ strategy: new JetStreamServer({ ...link, service: 'billing' }), logger: false });
  await service.listen();
});
afterAll(async () => {
  await service?.close();
  await client?.close();
  await unregister();
  await collector?.stop();
  await site?.close();
});

const named = (name: string): Span[] => collector.spans.filter((span) => span.name === name);

/** Leaves in the collector what is exported because of some work. */
async function collecting(work: () => Promise<unknown>): Promise<void> {
  collector.spans.length = 0;
  await work();
  await provider?.forceFlush();
}

describe('events and requests with an SDK', () => {
  beforeAll(register);
  afterAll(unregister);

  it('are ONE trace from the request through handler, event and task, by the conventions', async () => {
    await collecting(async () => {
      await trace.getTracer('shop').startActiveSpan('POST /orders', async (span) => {
        expect(await firstValueFrom(client.send('orders.create', { id: 7 }))).toBe('created');
        span.end();
      });
      await eventually(
        'the last span has come',
        () => named('settle invoices').length === 1 && named('process orders.created.*').length === 1,
      );
    });
    const [root] = named('POST /orders');
    const [ask] = named('orders.create').filter(({ kind }) => kind === KIND.client);
    const [answer] = named('orders.create').filter(({ kind }) => kind === KIND.server);
    const [emit] = named('send orders.created.7');
    const [event] = named('process orders.created.*');
    const chain = [root, ask, answer, emit, event, ...named('send invoices'), ...named('process invoices'), ...named('print')];
    expect(chain).toHaveLength(8);
    expect(chain.slice(1).map((span) => span!.parentSpanId)).toEqual(chain.slice(0, -1).map((span) => span!.spanId));
    expect(new Set(collector.spans.map(({ traceId }) => traceId))).toEqual(new Set([root!.traceId]));
    for (const one of [ask, answer]) {
      expect(one!.attributes).toEqual({ 'rpc.system.name': 'nats', 'rpc.method': 'orders.create' });
      expect(one!.status?.code ?? 0).toBe(0);
    }
    const common = { 'messaging.system.name': 'nats', 'messaging.system': 'nats', 'messaging.destination.name': 'orders.created.7' };
    const id = emit!.attributes['messaging.message.id'];
    expect(id).toEqual(expect.any(String));
    const sending = { 'messaging.operation.name': 'send', 'messaging.operation.type': 'send' };
    expect(emit).toMatchObject({ kind: KIND.producer, attributes: { ...common, ...sending } });
    expect(event).toMatchObject({
      kind: KIND.consumer,
      attributes: {
        ...common,
        ...{ 'messaging.operation.name': 'process', 'messaging.operation.type': 'process', 'messaging.message.id': id },
        'messaging.destination.template': 'orders.created.*',
        'messaging.consumer.group.name': expect.stringMatching(/^billing-orders_created_any-/),
        'jetlane.event.attempt': 1,
        'jetlane.event.outcome': 'completed',
      },
    });
  });

  it('tell on both sides what failed', async () => {
    await collecting(() => rejection(firstValueFrom(client.send('orders.create', { id: -1 }))));
    expect(named('orders.create').map(({ status }) => status?.code)).toEqual([2, 2]);
    const types = named('orders.create').map(({ kind, attributes }) => [kind, attributes['error.type']]);
    expect(new Map(types as [number, string][])).toEqual(
      new Map([
        [KIND.server, 'no-order'],
        [KIND.client, 'internal'],
      ]),
    );
    await collecting(() => rejection(firstValueFrom(client.send('orders.nobody', {}))));
    expect(collector.spans).toMatchObject([{ kind: KIND.client, name: 'orders.nobody', attributes: { 'error.type': 'no-responders' } }]);
  });

  it('have a span for every delivery of an event, with what became of it', async () => {
    await collecting(async () => {
      await lastValueFrom(client.emit('orders.lost', {}));
      await eventually('it is given up', () => named('process orders.lost').length === 2);
    });
    const [emit] = named('send orders.lost');
    for (const run of named('process orders.lost')) {
      expect(run).toMatchObject({ parentSpanId: emit!.spanId, status: { code: 2 }, attributes: { 'error.type': 'TypeError' } });
    }
    const told = named('process orders.lost').map(({ attributes }) => [
      attributes['jetlane.event.attempt'],
      attributes['jetlane.event.outcome'],
    ]);
    expect(told).toEqual([
      [1, 'retry'],
      [2, 'dead'],
    ]);
  });

  it('goes on with the trace that a record carries; one that is not sampled is handed on, and nothing is recorded', async () => {
    const handler = service.get(Billing);
    handler.traceparents.length = 0;
    await collecting(async () => {
      await lastValueFrom(client.emit('orders.quiet', new JetStreamRecord({}, { headers: { traceparent: UNSAMPLED } })));
      await eventually('it is handled', () => handler.traceparents.length === 1);
      await lastValueFrom(
        client.emit('orders.quiet', new JetStreamRecord({}, { headers: { traceparent: UNSAMPLED.replace(/00$/, '01') } })),
      );
      await eventually('the sampled one is exported', () => named('process orders.quiet').length === 1);
    });
    expect(handler.traceparents).toEqual(['c'.repeat(32), 'c'.repeat(32)]);
    expect(named('send orders.quiet')).toMatchObject([{ traceId: 'c'.repeat(32), parentSpanId: 'd'.repeat(16) }]);
    expect(collector.spans).toHaveLength(2);
  });

  it('make no trace of their own of commands that come without one, and go on with one that has begun', async () => {
    const link = { servers: site.installation.server.url, namespace: site.namespace };
    const server = new JetStreamServer({ ...link, service: 'store', commands: true });
    server.addHandler('stock', async () => 3);
    await new Promise<void>((resolve, reject) => server.listen((error) => (error ? reject(error) : resolve())));
    const commands = new JetStreamClient({ ...link, commandsOf: 'store' });
    const raw = await site.installation.link();
    await collecting(async () => {
      await raw.request(raw.names.service('store', 'stock'), '', 5000);
      expect(await firstValueFrom(commands.send('stock', {}))).toBe(3);
    });
    expect(collector.spans.map(({ name, kind }) => [name, kind]).sort()).toEqual([
      ['store/stock', KIND.server],
      ['store/stock', KIND.client],
    ]);
    await Promise.all([server.close(), commands.close()]);
  });
});

describe('events and requests without an SDK', () => {
  it('carry the trace of a record on, and make no spans', async () => {
    const seen: (string | undefined)[] = [];
    const link = { servers: site.installation.server.url, namespace: site.namespace };
    const server = new JetStreamServer({ ...link, service: 'plain' });
    server.addHandler('plain.ask', async (_: unknown, message: { getHeader(name: string): string | undefined }) => {
      seen.push(message.getHeader('traceparent'));
    });
    await new Promise<void>((resolve, reject) => server.listen((error) => (error ? reject(error) : resolve())));
    await collecting(async () => {
      await firstValueFrom(client.send('plain.ask', new JetStreamRecord({}, { headers: { traceparent: UNSAMPLED } })));
      await firstValueFrom(client.send('plain.ask', {}));
    });
    expect(seen).toEqual([UNSAMPLED, undefined]);
    expect(collector.spans).toEqual([]);
    await server.close();
  });
});
