import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startBatch, startProcess } from './process-span.js';
import { startSend } from './send-span.js';
import { noteStep } from './step-span.js';
import { formatTraceparent, isTraceparent, traceIdOf } from './trace-context.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;
const sent = { queue: 'default', lane: 'high', type: 'credit_purchase', key: 'k1' };
const processed = { id: 'default.k1', queue: 'default', lane: 'high', type: 'credit_purchase', attempt: 2, hop: 3, delivery: 1 };

const moments = () => ({ stored: 1_763_776_800_000, fetched: 1_763_776_800_250, started: 0, finished: 1_763_776_800_200 });

describe('without an SDK', () => {
  it('passes the given parent on', () => {
    const send = startSend(sent, { traceparent: PARENT, tracestate: 'a=b' });
    expect([send.traceparent, send.tracestate]).toEqual([PARENT, 'a=b']);
    send.end();
    expect(startSend(sent).traceparent).toBeUndefined();
  });

  it('drops a parent that is none', () => {
    for (const traceparent of [
      '',
      'x',
      PARENT.toUpperCase(),
      `${PARENT}-`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
    ]) {
      expect(isTraceparent(traceparent), traceparent).toBe(false);
      expect(startSend(sent, { traceparent }).traceparent, traceparent).toBeUndefined();
      expect(startProcess(() => processed, { traceparent }).traceId, traceparent).toBeUndefined();
    }
  });

  it('still tells the trace id, runs the handler and gives its result', () => {
    const run = startProcess(() => processed, { traceparent: PARENT });
    expect(run.traceId).toBe(TRACE);
    expect(run.run(() => 42)).toBe(42);
    expect(startBatch('default', 'mail', [run])).toBeUndefined();
    run.settling();
    run.end({ outcome: 'completed', moments });
  });
});

describe('with an SDK', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

  beforeAll(() => provider.register());
  afterAll(async () => {
    trace.disable();
    context.disable();
    await provider.shutdown();
  });
  beforeEach(() => exporter.reset());

  const span = (name: string): ReadableSpan => exporter.getFinishedSpans().find((finished) => finished.name === name)!;
  const parentOf = ({ parentSpanContext }: ReadableSpan): string | undefined => parentSpanContext?.spanId;

  it('makes one trace of caller, send, process and what the handler does', () => {
    const tracer = trace.getTracer('test');
    const caller = tracer.startSpan('caller');
    const send = context.with(trace.setSpan(ROOT_CONTEXT, caller), () => startSend(sent));
    send.end();
    caller.end();

    const run = startProcess(() => processed, { traceparent: send.traceparent! });
    run.settling();
    run.run(() => tracer.startSpan('inside').end());
    run.end({ outcome: 'completed', moments });

    const all = exporter.getFinishedSpans();
    expect(new Set(all.map((one) => one.spanContext().traceId)).size).toBe(1);
    expect(all).toHaveLength(5);
    expect(run.traceId).toBe(span('caller').spanContext().traceId);
    expect(parentOf(span('send default'))).toBe(span('caller').spanContext().spanId);
    expect(parentOf(span('process default'))).toBe(span('send default').spanContext().spanId);
    expect(parentOf(span('settle default'))).toBe(span('process default').spanContext().spanId);
    expect(parentOf(span('inside'))).toBe(span('process default').spanContext().spanId);
    expect(send.traceparent).toBe(formatTraceparent(span('send default').spanContext()));
  });

  it('keeps the span active over awaits of the handler', async () => {
    const run = startProcess(() => processed, { traceparent: PARENT });
    const active = await run.run(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return trace.getActiveSpan()?.spanContext().traceId;
    });
    run.end({ outcome: 'completed', moments });
    expect(active).toBe(TRACE);
  });

  it('describes the spans by the messaging conventions', () => {
    startSend(sent, { traceparent: PARENT, tracestate: 'vendor=1' }).end();
    const run = startProcess(() => processed, { traceparent: PARENT });
    run.settling();
    run.end({ outcome: 'completed', moments });
    const common = {
      'messaging.system.name': 'nats',
      'messaging.destination.name': 'default',
      'messaging.message.id': 'default.k1',
      'jetlane.lane': 'high',
    };
    expect(span('send default')).toMatchObject({ kind: SpanKind.PRODUCER, attributes: { ...common, 'messaging.operation.type': 'send' } });
    expect(span('send default').spanContext().traceState?.serialize()).toBe('vendor=1');
    const process = span('process default');
    expect(process).toMatchObject({
      kind: SpanKind.CONSUMER,
      attributes: { ...common, 'messaging.operation.type': 'process', 'jetlane.task.attempt': 2, 'jetlane.task.hop': 3 },
    });
    expect(process.attributes['jetlane.task.outcome']).toBe('completed');
    // A hop that did not take place has no event, and clocks that disagree make a length of 0.
    expect(process.events).toMatchObject([
      { name: 'stored', time: [1_763_776_800, 0], attributes: {} },
      { name: 'fetched', time: [1_763_776_800, 250_000_000], attributes: { 'jetlane.hop.seconds': 0.25 } },
      { name: 'finished', attributes: { 'jetlane.hop.seconds': 0 } },
    ]);
    expect(span('settle default')).toMatchObject({
      kind: SpanKind.CLIENT,
      attributes: { ...common, 'messaging.operation.type': 'settle', 'jetlane.task.outcome': 'completed' },
    });
    expect(process.parentSpanContext?.isRemote).toBe(true);
  });

  it('marks what failed', () => {
    startSend(sent).end(Object.assign(new Error('full'), { code: 'queue-full' }));
    const run = startProcess(() => processed, {});
    run.end({ outcome: 'retry', error: new TypeError('boom'), delayMs: 1500.4, moments });
    expect(span('send default')).toMatchObject({
      status: { code: SpanStatusCode.ERROR, message: 'full' },
      attributes: { 'error.type': 'queue-full' },
    });
    expect(span('process default')).toMatchObject({
      status: { code: SpanStatusCode.ERROR },
      attributes: { 'error.type': 'TypeError', 'jetlane.task.outcome': 'retry' },
    });
  });

  it('links a batch and its tasks to each other, and is the active span of its handler', async () => {
    const runs = [1, 2].map(() => startProcess(() => processed, { traceparent: PARENT }));
    const batch = startBatch('default', 'mail', runs)!;
    const active = batch.run(() => trace.getActiveSpan()?.spanContext().spanId);
    batch.end(new TypeError('boom'));
    for (const run of runs) run.end({ outcome: 'retry', moments });
    const span = exporter.getFinishedSpans().find(({ name }) => name === 'process batch default')!;
    const tasks = exporter.getFinishedSpans().filter(({ name }) => name === 'process default');
    expect(active).toBe(span.spanContext().spanId);
    expect(span.links.map((link) => link.context.spanId)).toEqual(tasks.map((task) => task.spanContext().spanId));
    for (const task of tasks) {
      expect(task.links.map((link) => link.context)).toEqual([span.spanContext()]);
      expect(task.attributes['jetlane.task.batch_trace_id']).toBe(span.spanContext().traceId);
    }
    expect(span).toMatchObject({
      kind: SpanKind.CONSUMER,
      status: { code: SpanStatusCode.ERROR },
      attributes: { 'messaging.batch.message_count': 2, 'jetlane.task.type': 'mail', 'error.type': 'TypeError' },
    });
  });

  it('tells when a retry is due', () => {
    const run = startProcess(() => processed, { traceparent: PARENT });
    run.settling();
    run.end({ outcome: 'retry', error: new Error('boom'), delayMs: 1500.4, moments });
    expect(span('settle default').attributes).toMatchObject({ 'jetlane.task.outcome': 'retry', 'jetlane.task.delay_ms': 1500 });
  });

  it('makes a span of a step for a task that has a trace, and for no other', () => {
    const step = () => ({
      ...{ step: 'move' as const, id: 'default.k1', queue: 'default', lane: 'high', hop: 2 },
      ...{ outcome: 'moved', startedAt: 1_763_776_800_100, storedAt: 1_763_776_800_000 },
    });
    noteStep(step, {});
    expect(exporter.getFinishedSpans()).toHaveLength(0);
    noteStep(step, { traceparent: PARENT });
    const moved = span('move default');
    expect(moved).toMatchObject({ kind: SpanKind.PRODUCER, startTime: [1_763_776_800, 100_000_000] });
    expect(moved.spanContext().traceId).toBe(TRACE);
    expect(moved.attributes).toMatchObject({ 'messaging.operation.name': 'move', 'jetlane.task.hop': 2, 'jetlane.task.outcome': 'moved' });
    expect(moved.events).toMatchObject([{ name: 'stored', time: [1_763_776_800, 0], attributes: { 'jetlane.hop.seconds': 0.1 } }]);
  });

  it('hands on the decision not to sample, which spares the settlement its span', () => {
    const unsampled = startProcess(() => processed, { traceparent: PARENT.replace(/01$/, '00') });
    unsampled.settling();
    unsampled.end({ outcome: 'completed', moments });
    const send = startSend(sent, { traceparent: PARENT.replace(/01$/, '00') });
    send.end();
    expect(send.traceparent?.endsWith('-00')).toBe(true);
    expect(traceIdOf(send.traceparent)).toBe(TRACE);
    expect(exporter.getFinishedSpans()).toHaveLength(0);
  });
});
