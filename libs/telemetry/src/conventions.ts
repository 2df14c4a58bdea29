/**
 * Attribute names of OpenTelemetry's conventions. Those of messaging are not stable yet, and the entry that holds them costs
 * 48 ms to load, so they are written out here, as OpenTelemetry advises; a test compares them with the published ones.
 */
export const ATTR = {
  system: 'messaging.system.name',
  /** The former name of `messaging.system.name`: many back ends still look for it. */
  systemDeprecated: 'messaging.system',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destination: 'messaging.destination.name',
  destinationTemplate: 'messaging.destination.template',
  consumerGroup: 'messaging.consumer.group.name',
  messageId: 'messaging.message.id',
  batchSize: 'messaging.batch.message_count',
  errorType: 'error.type',
  rpcSystem: 'rpc.system.name',
  rpcMethod: 'rpc.method',
  httpMethod: 'http.request.method',
  httpRoute: 'http.route',
  httpStatus: 'http.response.status_code',
  urlPath: 'url.path',
  urlScheme: 'url.scheme',
  lane: 'jetlane.lane',
  type: 'jetlane.task.type',
  attempt: 'jetlane.task.attempt',
  hop: 'jetlane.task.hop',
  delivery: 'jetlane.task.delivery',
  outcome: 'jetlane.task.outcome',
  /** Trace id of the batch that a task ran in. */
  batchTrace: 'jetlane.task.batch_trace_id',
  /** Milliseconds until a retry. */
  delay: 'jetlane.task.delay_ms',
  eventAttempt: 'jetlane.event.attempt',
  eventOutcome: 'jetlane.event.outcome',
  /** On the event of a hop: its length in seconds. */
  hopSeconds: 'jetlane.hop.seconds',
} as const;

/** Values that are the same on every span. */
export const SYSTEM = 'nats';
/** Template of the subjects that tasks are sent to. */
export const DESTINATION_TEMPLATE = 'tasks.{queue}.{lane}.{key}';
/** The durable consumer that all workers of a lane share. */
export const CONSUMER_GROUP = 'workers';
