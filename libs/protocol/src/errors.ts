/**
 * Every error code of Jetlane, with what it means for a caller. `status` is the HTTP status at the gateway;
 * `retryable` says whether the same call may succeed later without a change.
 */
export const ERROR_CODES = {
  'invalid-argument': { status: 400, retryable: false, title: 'The request does not fit its schema' },
  'invalid-json': { status: 400, retryable: false, title: 'The body is not valid JSON' },
  'invalid-headers': { status: 400, retryable: false, title: 'A task header cannot be read' },
  'invalid-configuration': { status: 500, retryable: false, title: 'The configuration does not fit its schema' },
  unauthorized: { status: 401, retryable: false, title: 'Credentials are missing or wrong' },
  forbidden: { status: 403, retryable: false, title: 'The caller may not do this' },
  'permission-denied': { status: 502, retryable: false, title: 'The NATS user of this process may not do this' },
  'unknown-queue': { status: 404, retryable: false, title: 'No queue of this name is defined' },
  'queue-not-empty': { status: 409, retryable: true, title: 'The queue still holds tasks' },
  'unknown-route': { status: 404, retryable: false, title: 'No such route' },
  'task-not-found': { status: 404, retryable: false, title: 'No task of this id is known' },
  'dead-letter-not-found': { status: 404, retryable: false, title: 'There is no dead letter of this task' },
  'worker-not-found': { status: 404, retryable: false, title: 'No worker of this name tells of itself' },
  'job-not-found': { status: 404, retryable: false, title: 'No job of this id is known' },
  'task-not-finished': { status: 409, retryable: false, title: 'The task is not finished yet' },
  'payload-not-kept': { status: 409, retryable: false, title: 'The payload of the finished task is gone' },
  'idempotency-conflict': { status: 409, retryable: false, title: 'The idempotency key was used with another payload' },
  'revision-conflict': { status: 412, retryable: false, title: 'The definition is not the revision that the caller named' },
  'wrong-sequence': { status: 409, retryable: true, title: 'Somebody else changed the record first' },
  'payload-too-large': { status: 413, retryable: false, title: 'The payload is larger than allowed' },
  'unsupported-media-type': { status: 415, retryable: false, title: 'The content type is not supported' },
  'queue-full': { status: 429, retryable: true, title: 'The queue has reached its depth or byte limit' },
  'too-many-jobs': { status: 429, retryable: true, title: 'As many jobs run as may run at a time' },
  'too-many-streams': { status: 503, retryable: true, title: 'As many event streams are open as may be at a time' },
  'rate-limited': { status: 429, retryable: true, title: 'The caller sends more requests than it may' },
  'publisher-overloaded': { status: 503, retryable: true, title: 'Too many publishes are waiting for the server' },
  'publish-timeout': {
    status: 503,
    retryable: true,
    title: 'The server did not confirm the publish in time; whether it is stored is unknown',
  },
  'no-responders': { status: 503, retryable: true, title: 'No stream or service listens on the subject' },
  'publish-refused': { status: 502, retryable: false, title: 'The server refused the publish' },
  'request-timeout': { status: 503, retryable: true, title: 'A service or the server did not answer in time' },
  'not-connected': { status: 503, retryable: true, title: 'There is no connection to the NATS server' },
  'connection-closed': { status: 503, retryable: false, title: 'The connection was closed by this process' },
  'server-too-old': { status: 500, retryable: false, title: 'The NATS server is older than Jetlane needs' },
  'stream-mismatch': { status: 500, retryable: false, title: 'A stream or consumer differs from what Jetlane needs' },
  'wrong-topology': { status: 500, retryable: false, title: 'The installation lays out its queues in another topology' },
  'jetstream-api': { status: 502, retryable: true, title: 'The JetStream API answered with an error' },
  'service-unavailable': { status: 503, retryable: true, title: 'A service of the platform does not answer' },
  'duplicate-handler': { status: 500, retryable: false, title: 'Two handlers claim one task type' },
  'no-type': { status: 422, retryable: false, title: 'The task names no type and its queue has no default type' },
  'no-handler': { status: 422, retryable: false, title: 'No handler is registered for the task type' },
  'undecodable-payload': { status: 422, retryable: false, title: 'The payload is not what its content type says' },
  'payload-mismatch': { status: 422, retryable: false, title: 'The payload does not fit the schema of its task type' },
  'result-mismatch': { status: 422, retryable: false, title: 'What the handler returned does not fit the schema of its task type' },
  'result-too-large': { status: 422, retryable: false, title: 'The result is larger than a record may be' },
  'wrong-batch-result': { status: 422, retryable: true, title: 'A batch handler did not return one outcome per item' },
  fatal: { status: 422, retryable: false, title: 'The handler declared the task impossible' },
  'attempts-exhausted': { status: 422, retryable: false, title: 'Every attempt of the retry policy failed' },
  'deliveries-exhausted': { status: 422, retryable: false, title: 'The server gave up after max_deliver deliveries' },
  poison: { status: 422, retryable: false, title: 'Workers died repeatedly while they ran the task' },
  timeout: { status: 504, retryable: true, title: 'The handler ran longer than its timeout' },
  internal: { status: 500, retryable: false, title: 'An error inside Jetlane; please report it' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

/** A stable, documented error code. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What an error carries beside its message. */
export interface ErrorOptions {
  /** Facts for programs: ids, limits, positions. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The error behind this one. */
  readonly cause?: unknown;
  /** Overrides the table of codes. */
  readonly retryable?: boolean;
}

/** Root of all errors that Jetlane throws on purpose. The message says what failed, on which id, and the next step. */
export class JetlaneError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? ERROR_CODES[code].retryable;
    this.details = options.details ?? {};
  }
}

/** A lane, or in topology `compact` the queue, is at its depth or byte limit: slow down and try again. */
export class QueueFullError extends JetlaneError {
  /** @param where which part of it, for the message, as in ` in lane low` */
  constructor(queue: string, options: ErrorOptions = {}, where = '') {
    super('queue-full', `queue "${queue}" is full${where}; try again later or raise its limits`, {
      ...options,
      details: { queue, ...options.details },
    });
  }
}

/** No queue of this name is defined. */
export class UnknownQueueError extends JetlaneError {
  constructor(queue: string, known: Iterable<string> = []) {
    const names = [...known];
    const nearest = closest(queue, names);
    const hint = nearest
      ? `did you mean "${nearest}"?`
      : names.length
        ? `defined queues: ${names.slice(0, 10).join(', ')}`
        : 'no queue is defined yet';
    super('unknown-queue', `queue "${queue.slice(0, LONGEST_WORD)}" is not defined; ${hint}`, {
      details: { queue: queue.slice(0, LONGEST_WORD), ...(nearest ? { suggestion: nearest } : {}) },
    });
  }
}

/** The idempotency key was used before, with another payload. */
export class IdempotencyConflictError extends JetlaneError {
  constructor(id: string) {
    super('idempotency-conflict', `task "${id}" was already enqueued with another payload; use a new key for a new task`, {
      details: { id },
    });
  }
}

/** Somebody else changed the record first (compare-and-set lost). */
export class WrongSequenceError extends JetlaneError {
  constructor(subject: string, options: ErrorOptions = {}) {
    super('wrong-sequence', `another write to "${subject}" came first; read it again and decide`, options);
  }
}

/** Thrown by a handler: the task can never succeed; it becomes a dead letter at once. */
export class FatalError extends JetlaneError {
  constructor(message: string, options: ErrorOptions & { code?: ErrorCode } = {}) {
    super(options.code ?? 'fatal', message, { ...options, retryable: false });
  }
}

/** Longer words get no suggestion: the cost grows with the product of the lengths, and the word may come from anybody. */
const LONGEST_WORD = 128;

/** The name nearest to `word` by edit distance, if it is near enough to be a slip of the pen. */
export function closest(word: string, names: Iterable<string>): string | undefined {
  if (word.length > LONGEST_WORD) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const name of names) {
    const distance = editDistance(word, name);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}

/** Two neighbours that changed places count as one slip. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? before[j - 2]! + 1 : replace;
      next.push(Math.min(replace, swap, row[j]! + 1, next[j - 1]! + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length]!;
}
