export {
  type CancelNotice,
  type CancelReply,
  decodeCancelNotice,
  type GroupCancelNotice,
  REASON_LIMIT,
  type TaskCancelNotice,
} from './cancel.js';
export {
  COMMAND_CALLER_HEADER,
  type Command,
  type CommandInput,
  type CommandOutput,
  type CommandRoute,
  defineCommand,
  heldScopes,
  queuesOfInput,
  SCOPES,
  type Scope,
} from './commands/command.js';
export { COMMANDS } from './commands/index.js';
export { QUEUE_COMMANDS, queueField, storedDefinitionSchema } from './commands/queues.js';
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
export {
  DEAD_LETTER_LIMITS,
  DEAD_LETTER_SERVICE,
  type DiscardInput,
  deadLetterFilterSchema,
  discardSchema,
  idInputSchema,
  type ListDeadLettersInput,
  listDeadLettersSchema,
  type RedriveInput,
  redriveSchema,
} from './dead-letter-commands.js';
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
export { type LaneLocation, Names } from './names.js';
export {
  configurationError,
  DEFAULT_QUEUES,
  LANE_DEFAULTS,
  parseQueueDefinition,
  type QueueDefinition,
  queueDefinitionSchema,
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
export { formatTaskId, isQueueName, isTaskKey, isTaskType, keySource, parseTaskId, type TaskId } from './task-id.js';
export {
  type CountedOutcome,
  type Heartbeat,
  type LaneMetrics,
  type MetricsSnapshot,
  OUTCOMES,
  type RunningTask,
} from './worker-report.js';
