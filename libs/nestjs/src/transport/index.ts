export { JetStreamClient } from './client.js';
export { JetStreamContext, type MessageFacts } from './context.js';
export type { DeadEventError } from './dead-event.js';
export type { JetStreamClientOptions, JetStreamServerOptions, KeptEvents, ReaderOptions, TransportLink } from './options.js';
export { JetStreamRecord, type RecordOptions } from './record.js';
export { type DeadEvent, type DeadEventFilter, type LeftEvent, listDeadEvents, type RedrivenEvents, redriveDeadEvents } from './redrive.js';
export { JETSTREAM, JetStreamServer } from './server.js';
