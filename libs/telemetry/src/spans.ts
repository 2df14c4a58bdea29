import { SpanKind } from '@opentelemetry/api';

/** What a span is. Its name is `<operation> <queue>`. */
export interface SpanSpec {
  /** `messaging.operation.name`. */
  readonly operation: string;
  /** `messaging.operation.type`: one of those that the conventions know. */
  readonly type: 'send' | 'process' | 'settle';
  readonly kind: SpanKind;
  readonly parent: string;
  /** Who makes it. */
  readonly from: string;
}

const CREATION = "the span in the task's headers";

/** Every span of Jetlane. The context that a producer puts into a task's headers stays there over all its hops, as the conventions ask. */
export const SPANS = {
  send: {
    operation: 'send',
    type: 'send',
    kind: SpanKind.PRODUCER,
    parent: "the caller's `traceparent`, else the active span",
    from: 'gateway, client',
  },
  process: { operation: 'process', type: 'process', kind: SpanKind.CONSUMER, parent: CREATION, from: 'worker' },
  processBatch: {
    operation: 'process batch',
    type: 'process',
    kind: SpanKind.CONSUMER,
    parent: 'none; links to the `process` span of each task',
    from: 'worker',
  },
  settle: { operation: 'settle', type: 'settle', kind: SpanKind.CLIENT, parent: 'the `process` span', from: 'worker' },
  move: { operation: 'move', type: 'send', kind: SpanKind.PRODUCER, parent: CREATION, from: 'scheduler' },
  bury: { operation: 'bury', type: 'settle', kind: SpanKind.CLIENT, parent: CREATION, from: 'resiliency' },
  redrive: { operation: 'redrive', type: 'send', kind: SpanKind.PRODUCER, parent: CREATION, from: 'resiliency' },
} as const satisfies Record<string, SpanSpec>;

/** A span that is not about a task. */
export interface ServiceSpanSpec {
  /** How its name is made. */
  readonly name: string;
  readonly kind: SpanKind;
  readonly parent: string;
  /** Who makes it. */
  readonly from: string;
}

/** Spans of events, of requests between services, and of HTTP. */
export const SERVICE_SPANS = {
  emit: {
    name: 'send <subject>',
    kind: SpanKind.PRODUCER,
    parent: "the record's `traceparent`, else the active span",
    from: '`emit` of `JetStreamClient`',
  },
  event: { name: 'process <pattern>', kind: SpanKind.CONSUMER, parent: "the span in the event's headers", from: '`JetStreamServer`' },
  ask: {
    name: '<method>',
    kind: SpanKind.CLIENT,
    parent: "the record's `traceparent`, else the active span",
    from: '`send` of `JetStreamClient`',
  },
  answer: { name: '<method>', kind: SpanKind.SERVER, parent: "the span in the request's headers", from: '`JetStreamServer`' },
  http: { name: '<METHOD> <route>', kind: SpanKind.SERVER, parent: "the caller's `traceparent`", from: 'gateway' },
} as const satisfies Record<string, ServiceSpanSpec>;

/** The hops of a run, in their order: each lasts from the one before to the time that it is named after. `stored` begins at the creation. */
export const HOPS = ['stored', 'fetched', 'started', 'finished', 'settled'] as const;
/** One of {@link HOPS}. */
export type Hop = (typeof HOPS)[number];

/** When a task was where, ms since 1970; undefined or 0 where it was not. */
export type HopMoments = Readonly<Partial<Record<'created' | Hop, number | undefined>>>;

/** Calls `tell` for every hop that took place, with its end and its length in ms. Clocks that disagree make a length of 0. */
export function eachHop(moments: HopMoments, tell: (hop: Hop, at: number, lengthMs: number | undefined) => void): void {
  let before = moments.created;
  for (let i = 0; i < HOPS.length; i++) {
    const hop = HOPS[i]!;
    const at = moments[hop];
    if (!at) continue;
    tell(hop, at, before ? Math.max(0, at - before) : undefined);
    before = at;
  }
}
