/** Every code that the launcher, the embedded database and the platform runner can fail with. */
export type LaunchErrorCode =
  | 'already-running'
  | 'checksum-mismatch'
  | 'command-failed'
  | 'data-dir-not-writable'
  | 'invalid-port'
  | 'nats-server-not-found'
  | 'nats-server-too-old'
  | 'nats-unreachable'
  | 'jetstream-disabled'
  | 'not-built'
  | 'port-taken'
  | 'postgres-not-found'
  | 'postgres-version-mismatch'
  | 'start-failed'
  | 'start-timeout';

/** What a {@link LaunchError} carries besides its message. */
export interface LaunchErrorOptions {
  /** Whether the same call may succeed later without anybody changing anything. Default false. */
  retryable?: boolean;
  /** Facts for programs: paths, ports, versions. */
  details?: Record<string, unknown>;
  /** The error behind this one. */
  cause?: unknown;
}

/**
 * Something that Jetlane wanted to run could not be run. The message is one sentence (what failed, on which file or
 * port) followed by the way out, so it can be shown to a person as it is.
 */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
  readonly code: LaunchErrorCode;
  readonly retryable: boolean;
  readonly details: Record<string, unknown>;

  constructor(code: LaunchErrorCode, message: string, options: LaunchErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }
}

/** The message of anything that was thrown, in one line. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`.split('\n')[0] ?? '';
}
