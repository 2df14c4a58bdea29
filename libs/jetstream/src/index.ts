export { type BatchRequest, batchGet, scanStream } from './batch-get.js';
export { bodyText, Connection, type ConnectionState, type CoreMessage, connect } from './connection.js';
export type { ConnectOptions } from './connection-options.js';
export { ConnectionPool, type PooledConnection } from './connection-pool.js';
export { type Death, deathHeaders, isOver } from './dead-letter.js';
export { Delivery } from './delivery.js';
export { type BucketChange, type BucketEntry, JsonBucket } from './json-bucket.js';
export { countMessages, type LaneInfo, laneInfo } from './lane-info.js';
export { type ConsumerState, consumerState, type ListedLane, listLanes, streamExists } from './lane-list.js';
export type { Payload } from './outbox.js';
export { checkServer, provisionBase, provisionLane, provisionQueue, REQUIRED_API_LEVEL, removeBase, removeQueue } from './provisioning.js';
export { type PubAck, Publication } from './publication.js';
export { Publisher, type PublisherOptions } from './publisher.js';
export { PullLoop, type PullLoopHealth, type PullLoopOptions } from './pull-loop.js';
export { MISSED_HEARTBEATS, type PullEnd, Puller, type PullerOptions, type PullMode } from './puller.js';
export { ensureQueue, openQueueBucket } from './queue-registry.js';
export {
  deleteMessage,
  directGet,
  directGetNext,
  directGetSequence,
  leaderGet,
  leaderGetSequence,
  purgeSubject,
  type StoredMessage,
} from './stored.js';
export { type FollowOptions, StreamFollower } from './stream-follower.js';
export { hopOf, type Reader, type TaskCopy, TaskStore, type TaskTraces, type TimerRequest } from './task-store.js';
