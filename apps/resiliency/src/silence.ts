import type { Connection, ConsumerState } from '@jetlane/jetstream';

interface Watched {
  /** How long it has been silent while the lane moved, in ms. */
  silentMs: number;
  /** A sign of life came: an ack, a hand-back, or an extension of the lease. */
  alive: boolean;
  readonly unsubscribe: () => void;
}

/** What is heard of one lane. Epoch, creation and leader must stay: after a change of one the server may hand out anew what it had given up. */
interface Ear {
  readonly epoch: number;
  readonly createdAt: number;
  readonly leader: string;
  deliveredSequence: number;
  lookedAt: number;
  /** Longest time between two looks, in ms. */
  longestMs: number;
  /** Looks in a row at which the lane was in order. */
  calm: number;
  readonly watched: Map<number, Watched>;
}

/** Messages of a lane that are listened for at a time. */
export const MOST_WATCHED = 128;
const MARGIN_MS = 1000;
const CALM_LOOKS = 5;

/**
 * Tells orphans apart from tasks in hand where the consumer's state cannot: at the front of a lane that never rests.
 *
 * Whoever holds a message must show a sign of life before the server's patience ends (`backoff`), or the message goes to
 * another; and signs of life are messages that anybody may hear. Redeliveries go out before anything new. So a message of
 * which nothing is heard for as long as all its deliveries together can last, while the lane moves on, has been given up. That
 * takes a while (a quarter of an hour with the default settings), but no moment at which nothing is in hand.
 */
export class SilenceWatch {
  private readonly ears = new Map<string, Ear>();

  constructor(private readonly connection: Connection) {}

  /** True when the lane is listened to. */
  listens(stream: string): boolean {
    return this.ears.has(stream);
  }

  /**
   * Listens for the given messages of a lane, all of them delivered, and forgets others.
   * @param odd the lane holds more than what waits and what is in hand, as far as one look can tell
   * @returns those that are orphans
   */
  observe(stream: string, state: ConsumerState, sequences: readonly number[], odd: boolean): number[] {
    const ear = this.ear(stream, state);
    ear.calm = odd ? 0 : ear.calm + 1;
    if (ear.calm > CALM_LOOKS || sequences.length === 0) {
      this.forget(stream);
      return [];
    }
    this.age(ear, state.deliveredSequence);
    this.choose(stream, ear, new Set(sequences.slice(0, MOST_WATCHED)));
    const patience = patienceMs(state, ear.longestMs);
    return [...ear.watched].flatMap(([sequence, { silentMs }]) => (silentMs > patience ? [sequence] : []));
  }

  /** Listens to nothing any more. */
  close(): void {
    for (const stream of [...this.ears.keys()]) this.forget(stream);
  }

  private forget(stream: string): void {
    for (const { unsubscribe } of this.ears.get(stream)?.watched.values() ?? []) unsubscribe();
    this.ears.delete(stream);
  }

  private ear(stream: string, { createdAt, leader, deliveredSequence, paused }: ConsumerState): Ear {
    const { epoch } = this.connection;
    const known = this.ears.get(stream);
    if (known && !paused && known.epoch === epoch && known.createdAt === createdAt && known.leader === leader) return known;
    this.forget(stream);
    const lookedAt = performance.now();
    const fresh: Ear = { epoch, createdAt, leader, deliveredSequence, lookedAt, longestMs: 0, calm: 0, watched: new Map() };
    this.ears.set(stream, fresh);
    return fresh;
  }

  /** Only time in which the lane moved counts: without anything new being delivered a redelivery may wait as well. */
  private age(ear: Ear, deliveredSequence: number): void {
    const now = performance.now();
    const passed = now - ear.lookedAt;
    ear.lookedAt = now;
    if (deliveredSequence <= ear.deliveredSequence) return;
    ear.deliveredSequence = deliveredSequence;
    ear.longestMs = Math.max(ear.longestMs, passed);
    for (const watched of ear.watched.values()) watched.silentMs += passed;
  }

  private choose(stream: string, { watched }: Ear, wanted: ReadonlySet<number>): void {
    for (const [sequence, { alive, unsubscribe }] of watched) {
      if (wanted.has(sequence) && !alive) continue;
      unsubscribe();
      watched.delete(sequence);
    }
    for (const sequence of wanted) if (!watched.has(sequence)) watched.set(sequence, this.listen(stream, sequence));
  }

  /** Acknowledgements in both forms: `$JS.ACK.<stream>.<consumer>.<count>.<sequence>.…`, and with domain and account before the stream. */
  private listen(stream: string, sequence: number): Watched {
    const tail = `${stream}.${this.connection.names.consumer}.*.${sequence}.>`;
    const heard = () => {
      watched.alive = true;
    };
    const stops = [`$JS.ACK.${tail}`, `$JS.ACK.*.*.${tail}`].map((subject) => this.connection.subscribe(subject, heard));
    const watched: Watched = { silentMs: 0, alive: false, unsubscribe: () => stops.forEach((stop) => void stop()) };
    return watched;
  }
}

/**
 * How long all deliveries of a message can last together when nobody shows a sign of life. Each may wait for its turn besides,
 * up to the look after the next at which the lane is seen to move.
 */
function patienceMs({ backoffMs, maxDeliveries }: ConsumerState, longestMs: number): number {
  if (maxDeliveries <= 0) return Number.POSITIVE_INFINITY;
  let sum = MARGIN_MS + 2 * maxDeliveries * longestMs;
  for (let i = 0; i < maxDeliveries; i++) sum += backoffMs[Math.min(i, backoffMs.length - 1)] ?? 0;
  return sum;
}
