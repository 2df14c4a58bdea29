export { ATTR, CONSUMER_GROUP, DESTINATION_TEMPLATE, SYSTEM } from './conventions.js';
export { Histogram, LONGEST_MICROSECONDS, type PackedHistogram } from './histogram.js';
export { METRICS, type MetricSpec, TIME_BUCKETS } from './metrics.js';
export { type ActiveBatch, type ActiveProcess, type ProcessedTask, startBatch, startProcess } from './process-span.js';
export { type ActiveSend, type SentTask, startSend } from './send-span.js';
export { formatTraceparent, isTraceparent, type TraceHeaders, traceIdOf } from './trace-context.js';
export { activeTracer, SCOPE } from './tracer.js';
