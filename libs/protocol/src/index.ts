export {
  type CancelNotice,
  type CancelReply,
  decodeCancelNotice,
  type GroupCancelNotice,
  REASON_LIMIT,
  type TaskCancelNotice,
} from './cancel.js';
export { AUDIT_COMMANDS, type AuditItem, auditEntrySchema } from './commands/audit.js';
export {
  COMMAND_CALLER_HEADER,
  type Command,
  type CommandInput,
  type CommandOutput,
  type CommandRequest,
  type CommandRoute,
  defineCommand,
  heldScopes,
  queuesOfInput,
  SCOPES,
  type Scope,
} from './commands/command.js';
export { DEAD_LETTER_LIMITS, deadLetterCursor, deadLetterFilterFields } from './commands/dead-letter-fields.js';
export { deadLetterDetailSchema } from './commands/dead-letter-schemas.js';
export {
  deadLetterDetailView,
  deadLetterFilterOf,
  deadLetterJobView,
  deadLetterPageView,
  deadLetterPreviewView,
  deadLetterView,
} from './commands/dead-letter-views.js';
export { DEAD_LETTER_COMMANDS } from './commands/dead-letters.js';
export { COMMANDS } from './commands/index.js';
export { QUEUE_COMMANDS, queueField, storedDefinitionSchema } from './commands/queues.js';
export {
  LISTED_STATES,
  type ListedState,
  listedStates,
  type ProjectionStatus,
  SEARCH_COMMANDS,
  type TaskEntry,
} from './commands/search.js';
export {
  JOB_COMMANDS,
  type QueueJob,
  type QueuePause,
  type QueuePreview,
  queueJobSchema,
  queuePauseSchema,
  queuePreviewSchema,
  STEERING_COMMANDS,
  STEERING_LIMITS,
  type TaskSelection,
  taskSelectionSchema,
} from './commands/steering.js';
export { TASK_COMMANDS } from './commands/tasks.js';
export { WORKER_COMMANDS, type WorkerDetail, type WorkerView } from './commands/workers.js';
export type {
  Count,
  DeadLetter,
  DeadLetterDetail,
  DeadLetterFilter,
  DeadLetterJob,
  DeadLetterJobState,
  DeadLetterPage,
  DeadLetterPreview,
  RedriveAnswer,
} from './dead-letter.js';
export { laneIn } from './discipline.js';
export { type Duration, durationSchema, formatMs, toMs } from './duration.js';
export { type EnqueueRequest, enqueueRequestSchema } from './enqueue.js';
export {
  closest,
  ERROR_CODES,
  type ErrorCode,
  type ErrorOptions,
  FatalError,
  IdempotencyConflictError,
  JetlaneError,
  QueueFullError,
  UnknownQueueError,
  WrongSequenceError,
} from './errors.js';
export { DEAD_LETTER_FACTS, type DeadLetterFact, type DeadLetterFactName, deadLetterFactSchema } from './facts.js';
export {
  assertHeaderValue,
  decodeHeaders,
  encodeHeaders,
  HEADER,
  type HeaderPair,
  headerText,
  headerValue,
  hopId,
  JSON_CONTENT_TYPE,
  NO_TASK_HEADERS,
  parseTaskHeaders,
  stripServerHeaders,
  type TaskHeaders,
  traceOf,
  withHeaders,
} from './headers.js';
export {
  type LaneMode,
  type LanePicker,
  type LanePullState,
  PULL_SURPLUS,
  type PullState,
  planPulls,
  strictPicker,
  surplusFor,
  weightedPicker,
} from './lane-picker.js';
export { DEFAULT_LANE, DEFAULT_WEIGHTS, isLane, LANE_NUMBERS, LANES, type Lane, parseLane } from './lanes.js';
export {
  type Claimant,
  type Dealing,
  fairShares,
  type Limits,
  limitsSchema,
  MinGap,
  perMs,
  type Rate,
  rateSchema,
  TokenBucket,
} from './limits.js';
export { type LaneLocation, type LaneStream, Names, TOPOLOGIES, type Topology } from './names.js';
export {
  configurationError,
  DEFAULT_QUEUES,
  LANE_DEFAULTS,
  parseQueueDefinition,
  type QueueDefinition,
  queueDefinitionSchema,
  slotsOf,
} from './queue-definition.js';
export {
  type AttemptError,
  appendHistory,
  asciiJson,
  briefHistory,
  decodeRecord,
  type ErrorRecord,
  fingerprint,
  HISTORY_LIMIT,
  type HopTimes,
  isFinal,
  KEPT_PAYLOAD_LIMIT,
  type KeptPayload,
  keptPayload,
  type LogLine,
  lastLines,
  MESSAGE_LIMIT,
  parseHistory,
  STACK_LIMIT,
  type StateRecord,
  TASK_STATES,
  type TaskState,
  toErrorRecord,
} from './record.js';
export {
  backoffMs,
  type CompiledRetryPolicy,
  compileRetryPolicy,
  DEFAULT_RETRY_POLICY,
  formatRetryHeader,
  parseRetryHeader,
  type RetryPolicy,
  retryPolicySchema,
  spreadMs,
  tightenRetryPolicy,
} from './retry-policy.js';
export { errorText, recordEntry } from './task-entry.js';
export { formatTaskId, isQueueName, isTaskKey, isTaskType, keySource, parseTaskId, type TaskId } from './task-id.js';
export {
  type CountedOutcome,
  type Heartbeat,
  type LaneMetrics,
  type MetricsSnapshot,
  OUTCOMES,
  type ProcessLoad,
  type RunningTask,
} from './worker-report.js';
