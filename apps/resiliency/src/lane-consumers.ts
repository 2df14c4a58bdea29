import { type Connection, type ConsumerState, consumerState } from '@jetlane/jetstream';
import type { LaneLocation } from '@jetlane/protocol';

const FRESH_MS = 1000;

/** States of lane consumers, asked about once a second each: a wave of dead letters must not flood the API. */
export class LaneConsumers {
  private readonly known = new Map<string, { at: number; state: Promise<ConsumerState | undefined> }>();

  constructor(private readonly connection: Connection) {}

  /** The state of a lane's consumer, at most `maxAgeMs` old (default 1,000); undefined when it is missing. */
  get({ stream, consumer }: LaneLocation, maxAgeMs = FRESH_MS): Promise<ConsumerState | undefined> {
    const now = performance.now();
    const name = `${stream} ${consumer}`;
    const known = this.known.get(name);
    if (known && now - known.at < maxAgeMs) return known.state;
    const state = consumerState(this.connection, stream, consumer);
    this.known.set(name, { at: now, state });
    state.catch(() => this.known.delete(name));
    return state;
  }
}
