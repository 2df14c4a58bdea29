import type { Connection, ConnectOptions } from '@jetlane/jetstream';
import type { Duration, RetryPolicy } from '@jetlane/protocol';

/** How a transport is linked to NATS. */
export interface TransportLink extends ConnectOptions {
  /** A connection that somebody else opened and will close, as `app.get(Jetlane).connection`. */
  readonly connection?: Connection;
}

/** How events are read; for a service, and through the extras of `@EventPattern` for one pattern. */
export interface ReaderOptions {
  /** Events handled at once per pattern. Default 50. */
  readonly concurrency?: number;
  /** What happens to events whose handler fails. Default: five attempts, exponential backoff from 1 s to 1 min, then a dead letter. */
  readonly retry?: RetryPolicy;
  /** Where a reader begins that did not exist before: with events emitted from now on, or with all that the stream still has. Default `new`. */
  readonly from?: 'new' | 'all';
  /**
   * Every process gets every event while it runs, as for clearing caches. Default: the processes of a service share them, and what comes
   * while none runs waits.
   */
  readonly broadcast?: boolean;
}

/** Bounds of the stream of events, for whoever makes it. */
export interface KeptEvents {
  /**
   * How long the stream keeps events, when this process is the first to need it; if it stands with other bounds, that is logged
   * (`stream:differs`) and left as it is. Default 7d.
   */
  readonly keepEvents?: Duration;
  /**
   * Bytes that it keeps; beyond them the oldest events go, read or not. The server sets so much of its disk aside. 0: no bound. Default 1 GiB.
   */
  readonly keepEventBytes?: number;
}

/** Options of {@link JetStreamServer}. */
export interface JetStreamServerOptions extends TransportLink, ReaderOptions, KeptEvents {
  /** Name of the service: processes of the same name share events and requests. Letters, digits, _ and -, at most 64. */
  readonly service: string;
  /**
   * Whether `@MessagePattern`s are commands of this service alone, on `svc.<service>.<pattern>`, as those of the platform's services are.
   * Default false: they are patterns that any service may answer, on `rpc.<pattern>`.
   */
  readonly commands?: boolean;
  /**
   * Requests handled at once, over all patterns of this server. What comes beyond is answered at once with `service-unavailable`, which is
   * retryable; a handler that never ends keeps its place. Default 512.
   */
  readonly requestConcurrency?: number;
  /** How long handlers may go on when the application closes. Default 10s. */
  readonly shutdownTimeout?: Duration;
}

/** Options of {@link JetStreamClient}. */
export interface JetStreamClientOptions extends TransportLink, KeptEvents {
  /** `send` asks this service, whose server has `commands: true`. Default: whichever service answers the pattern. */
  readonly commandsOf?: string;
  /** How long `send` waits for the answer. Default 5s. */
  readonly timeout?: Duration;
}
