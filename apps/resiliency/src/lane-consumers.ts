import { type Connection, type ConsumerState, consumerState } from '@jetlane/jetstream';

const FRESH_MS = 1000;

/** States of lane consumers, asked about once a second each: a wave of dead letters must not flood the API. */
export class LaneConsumers {
  private readonly known = new Map<string, { at: number; state: Promise<ConsumerState | undefined> }>();

  constructor(private readonly connection: Connection) {}

  /** The state of a lane's consumer, at most `maxAgeMs` old (default 1,000); undefined when it is missing. */
  get(stream: string, maxAgeMs = FRESH_MS): Promise<ConsumerState | undefined> {
    const now = performance.now();
    const known = this.known.get(stream);
    if (known && now - known.at < maxAgeMs) return known.state;
    const state = consumerState(this.connection, stream, this.connection.names.consumer);
    this.known.set(stream, { at: now, state });
    state.catch(() => this.known.delete(stream));
    return state;
  }
}
