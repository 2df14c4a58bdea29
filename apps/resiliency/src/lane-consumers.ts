import { type Connection, type ConsumerState, consumerState } from '@jetlane/jetstream';
import type { LaneLocation } from '@jetlane/protocol';

const FRESH_MS = 1000;
/** As soon as so many are known, those that are not fresh are forgotten: lanes come and go with their queues. */
const MOST_KNOWN = 1000;

/** States of lane consumers, asked about once a second each: a wave of dead letters must not flood the API. */
export class LaneConsumers {
  private readonly known = new Map<string, { at: number; state: Promise<ConsumerState | undefined> }>();

  constructor(
    private readonly connection: Connection,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** The state of a lane's consumer, at most `maxAgeMs` old (default 1,000); undefined when it is missing. */
  get({ stream, consumer }: LaneLocation, maxAgeMs = FRESH_MS): Promise<ConsumerState | undefined> {
    const now = this.clock();
    const name = `${stream} ${consumer}`;
    const known = this.known.get(name);
    if (known && now - known.at < maxAgeMs) return known.state;
    if (this.known.size >= MOST_KNOWN) this.forget(now - FRESH_MS);
    const state = consumerState(this.connection, stream, consumer);
    this.known.set(name, { at: now, state });
    state.catch(() => this.known.delete(name));
    return state;
  }

  /** Lanes of which a state is remembered. */
  get size(): number {
    return this.known.size;
  }

  private forget(before: number): void {
    for (const [name, { at }] of this.known) if (at < before) this.known.delete(name);
  }
}
