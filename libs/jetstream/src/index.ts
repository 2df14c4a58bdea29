export { bodyText, type ConnectionState, Connection, connect, type CoreMessage } from './connection.js';
export type { ConnectOptions } from './connection-options.js';
export type { Delivery } from './delivery.js';
export { type BucketChange, type BucketEntry, JsonBucket } from './json-bucket.js';
export { checkServer, provisionBase, provisionLane, provisionQueue, REQUIRED_API_LEVEL, removeBase, removeQueue } from './provisioning.js';
export { type PubAck, Publisher, type PublisherOptions } from './publisher.js';
export { MISSED_HEARTBEATS, Puller, type PullEnd, type PullerOptions, type PullMode } from './puller.js';
export { deleteMessage, directGet, directGetNext, directGetSequence, leaderGet, leaderGetSequence, purgeSubject, type StoredMessage } from './stored.js';
export { hopOf, type Reader, type TaskCopy, TaskStore, type TaskTraces, type TimerRequest } from './task-store.js';
