import {
  BatchHandler,
  defineTask,
  getQueueToken,
  InjectQueue,
  type ItemOutcome,
  JetlaneModule,
  Queue,
  TaskContext,
  TaskHandler,
  TaskQueue,
} from '@jetlane/nestjs';
import { context, propagation, type Span, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { eventually, NestSite, QUICK } from './nestjs-fixture.js';

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

let site: NestSite;
beforeAll(async () => {
  provider.register();
  site = await NestSite.open('nestjs-tracing');
});
afterAll(async () => {
  await site.close();
  for (const api of [trace, context, propagation]) api.disable();
  await provider.shutdown();
});

const welcome = defineTask({ queue: 'traced', type: 'welcome', schema: z.object({ to: z.string() }) });
const invoice = defineTask({ queue: 'traced', type: 'invoice', schema: z.object({ to: z.string() }) });

@TaskQueue('traced')
class Handlers {
  readonly traceIds: (string | undefined)[] = [];

  constructor(@InjectQueue('traced') private readonly queue: Queue) {}

  @TaskHandler(welcome)
  async welcome({ to }: { to: string }, { attempt }: TaskContext) {
    this.traceIds.push(trace.getActiveSpan()?.spanContext().traceId);
    if (attempt === 1) throw new Error('the mail server is away');
    trace.getTracer('mailer').startSpan('smtp').end();
    await this.queue.enqueue(invoice, { to });
  }

  @TaskHandler(invoice)
  invoice() {
    this.traceIds.push(trace.getActiveSpan()?.spanContext().traceId);
  }
}

const finished = (name: string): ReadableSpan[] => exporter.getFinishedSpans().filter((span) => span.name === name);
const idOf = (span: ReadableSpan): string => span.spanContext().spanId;
const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId;

describe('a NestJS application with an OpenTelemetry SDK', () => {
  it('has one trace from the request through retry, handler and the tasks that the handler enqueues', async () => {
    const imports = [JetlaneModule.registerQueue({ name: 'traced', retry: QUICK })];
    const producer = await site.app({ imports }, { role: 'producer' });
    const worker = await site.app({ imports, providers: [Handlers] });
    const queue = producer.get<Queue>(getQueueToken('traced'));
    const request = await trace.getTracer('http').startActiveSpan('POST /signup', async (span: Span) => {
      const receipt = await queue.enqueue(welcome, { to: 'ada' }, { lane: 'high' });
      span.end();
      return { receipt, context: span.spanContext() };
    });
    const done = await queue.result(request.receipt);
    expect(done).toMatchObject({ state: 'completed', attempt: 2 });
    await eventually('both tasks are settled', () => finished('settle traced').length === 3);

    const spans = exporter.getFinishedSpans();
    expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([request.context.traceId]));
    expect(worker.get(Handlers).traceIds).toEqual(Array.from({ length: 3 }, () => request.context.traceId));
    const [send, second] = finished('send traced');
    const runs = finished('process traced').filter(({ attributes }) => attributes['messaging.message.id'] === request.receipt.id);
    expect(parentOf(send!)).toBe(request.context.spanId);
    expect(runs.map(({ attributes }) => attributes['jetlane.task.outcome'])).toEqual(['retry', 'completed']);
    expect(runs.map(parentOf)).toEqual([idOf(send!), idOf(send!)]);
    // What the handler does, and what it enqueues, hangs on the run that did it.
    expect([finished('smtp')[0]!, second!].map(parentOf)).toEqual([idOf(runs[1]!), idOf(runs[1]!)]);
    const [invoiced] = finished('process traced').filter(({ attributes }) => attributes['jetlane.task.type'] === 'invoice');
    expect(parentOf(invoiced!)).toBe(idOf(second!));
  });

  it('has a way from the trace of a task to that of its batch, and back', async () => {
    @TaskQueue('traced-batch')
    class Indexer {
      @BatchHandler('index', { size: 2, maxWait: '30s' })
      index(docs: readonly unknown[]): ItemOutcome[] {
        trace.getTracer('indexer').startSpan('bulk').end();
        return docs.map(() => ({ success: true }));
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'traced-batch' })], providers: [Indexer] });
    const queue = app.get<Queue>(getQueueToken('traced-batch'));
    const receipts = [await queue.enqueue('index', 1), await queue.enqueue('index', 2)];
    await Promise.all(receipts.map((receipt) => queue.result(receipt)));
    await eventually('all is settled', () => finished('process traced-batch').length === 2);
    const [batch] = finished('process batch traced-batch');
    const runs = finished('process traced-batch');
    expect(finished('bulk').map(parentOf)).toEqual([idOf(batch!)]);
    expect(batch!.links.map((link) => link.context.spanId).sort()).toEqual(runs.map(idOf).sort());
    for (const { links, attributes } of runs) {
      expect(links.map((link) => link.context.spanId)).toEqual([idOf(batch!)]);
      expect(attributes['jetlane.task.batch_trace_id']).toBe(batch!.spanContext().traceId);
    }
  });
});
