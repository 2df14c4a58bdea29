export { type AccountUse, accountUse } from './account-use.js';
export type { BulkStream } from './bulk-publisher.js';
export { Connection, type ConnectionState, type CoreMessage, connect } from './connection.js';
export type { ConnectOptions } from './connection-options.js';
export { ConnectionPool, type PooledConnection } from './connection-pool.js';
export { type Death, deathHeaders, isOver } from './dead-letter.js';
export { boundDeadLetters, type DeadLetterBounds, type DeadLetterTotals, deadLetterTotals } from './dead-letter-bounds.js';
export { DeadLetterMover, type RedriveChange, type Redriven } from './dead-letter-moves.js';
export { countDeadLetters, isCountable, type ScanOptions, type ScanPage, scanDeadLetters, totalOf } from './dead-letter-scan.js';
export { detailDeadLetter, viewDeadLetter } from './dead-letter-view.js';
export { Delivery } from './delivery.js';
export { Frame } from './frame.js';
export { JobKeeper, type JobKeeperOptions } from './jobs/job-keeper.js';
export type { JobLog, JobRun, JobWork } from './jobs/job-run.js';
export type { Job } from './jobs/job-store.js';
export { Pace } from './jobs/pace.js';
export { type BucketChange, type BucketEntry, JsonBucket } from './json-bucket.js';
export { baseDrift, type LaneDrift, laneDrift } from './lane-drift.js';
export {
  type HeldLane,
  holdEnd,
  holdingLane,
  type InHand,
  inHand,
  isResting,
  laneState,
  mayBeInHand,
} from './lane-hold.js';
export { countMessages, type LaneInfo, laneInfo } from './lane-info.js';
export {
  type ConsumerState,
  consumerState,
  isShared,
  type ListedLane,
  type ListedStream,
  lanesOf,
  listLaneStreams,
  listLanes,
  queuesInMotion,
  type StreamState,
  streamExists,
  streamState,
} from './lane-list.js';
export { type MoveOptions, type MoveStep, moveLane, needsMove } from './lane-move.js';
export type { Payload } from './outbox.js';
export { checkServer, provisionBase, provisionLane, provisionQueue, REQUIRED_API_LEVEL, removeBase, removeQueue } from './provisioning.js';
export { type PubAck, Publication } from './publication.js';
export { Publisher, type PublisherOptions } from './publisher.js';
export { PullLoop, type PullLoopHealth, type PullLoopOptions } from './pull-loop.js';
export { MISSED_HEARTBEATS, type PullEnd, Puller, type PullerOptions, type PullMode } from './puller.js';
export { enforcePause, openPauses, type PauseEntry, pauseEnd, readPause } from './queue-pause.js';
export { ensureQueue, openLimitsBucket, openQueueBucket } from './queue-registry.js';
export { countHeld, deleteLanes, type HeldTasks, sealLanes } from './queue-removal.js';
export { isReplySubject } from './reply-subject.js';
export { ServerClock } from './server-clock.js';
export { type CommandAnswer, type CommandError, callCommand, callService } from './service-call.js';
export {
  deleteMessage,
  deleteSubject,
  directGet,
  directGetNext,
  directGetSequence,
  leaderGet,
  leaderGetNext,
  leaderGetSequence,
  type StoredMessage,
  sureGet,
  trimRecords,
} from './stored.js';
export { type BackRequest, readBack } from './stored-back.js';
export { type Batch, type BatchRequest, countFrom, directGetBatch, scanStream } from './stored-batch.js';
export { type FollowOptions, StreamFollower } from './stream-follower.js';
export { hopOf, type Reader, type TaskCopy, TaskStore, type TaskTraces, type TimerRequest } from './task-store.js';
export { assertTopology } from './topology.js';
export { bodyText } from './wire-message.js';
