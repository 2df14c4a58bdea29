import type { Connection, ConsumerState } from '@jetlane/jetstream';
import type { LaneLocation } from '@jetlane/protocol';

interface Watched {
  /** Deliveries that it may still have before it. */
  deliveries: number;
  /** When the server's patience with the present one has surely ended. */
  dueAt: number;
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
  /** Looks in a row at which the lane was in order. */
  calm: number;
  readonly watched: Map<number, Watched>;
}

/** As in the subjects of acknowledgements. */
const nameOf = ({ stream, consumer }: LaneLocation): string => `${stream}.${consumer}`;

/** Messages of a lane that are listened for at a time. */
export const MOST_WATCHED = 128;
/** For clocks and for a subscription that is on its way, in ms. */
const MARGIN_MS = 500;
const CALM_LOOKS = 5;

/**
 * Tells orphans apart from tasks in hand where the consumer's state cannot: at the front of a lane that never rests.
 *
 * Whoever holds a message must show a sign of life before the server's patience ends (`backoff`), or the message goes to
 * another; and signs of life are messages that anybody may hear. Redeliveries go out before anything new. So each time that
 * this patience has passed in silence, and something new was delivered after that, one delivery of the message is used up; when
 * all of them are, it has been given up. That takes a while (20 minutes with the default settings: ten deliveries, two minutes
 * at most for each), but no moment at which nothing is in hand.
 */
export class SilenceWatch {
  private readonly ears = new Map<string, Ear>();

  constructor(private readonly connection: Connection) {}

  /** True when the lane is listened to. */
  listens(lane: LaneLocation): boolean {
    return this.ears.has(nameOf(lane));
  }

  /**
   * Listens for the given messages of a lane, all of them delivered, and forgets others.
   * @param odd the lane holds more than what waits and what is in hand, as far as one look can tell
   * @returns those that are orphans
   */
  observe(lane: LaneLocation, state: ConsumerState, sequences: readonly number[], odd: boolean): number[] {
    const name = nameOf(lane);
    const ear = this.ear(name, state);
    ear.calm = odd ? 0 : ear.calm + 1;
    if (ear.calm > CALM_LOOKS || sequences.length === 0) {
      this.forget(name);
      return [];
    }
    const patience = Math.max(...state.backoffMs) + MARGIN_MS;
    this.age(ear, state.deliveredSequence, patience);
    this.choose(name, ear, new Set(sequences.slice(0, MOST_WATCHED)), () => ({
      deliveries: state.maxDeliveries > 0 ? state.maxDeliveries : Number.POSITIVE_INFINITY,
      dueAt: ear.lookedAt + patience,
    }));
    return [...ear.watched].flatMap(([sequence, { deliveries }]) => (deliveries <= 0 ? [sequence] : []));
  }

  /** Listens to nothing any more. */
  close(): void {
    for (const name of [...this.ears.keys()]) this.forget(name);
  }

  private forget(name: string): void {
    for (const { unsubscribe } of this.ears.get(name)?.watched.values() ?? []) unsubscribe();
    this.ears.delete(name);
  }

  private ear(name: string, { createdAt, leader, deliveredSequence, paused }: ConsumerState): Ear {
    const { epoch } = this.connection;
    const known = this.ears.get(name);
    if (known && !paused && known.epoch === epoch && known.createdAt === createdAt && known.leader === leader) return known;
    this.forget(name);
    const lookedAt = performance.now();
    const fresh: Ear = { epoch, createdAt, leader, deliveredSequence, lookedAt, calm: 0, watched: new Map() };
    this.ears.set(name, fresh);
    return fresh;
  }

  /** What was delivered between two looks came after whatever was due at the first of them. */
  private age(ear: Ear, deliveredSequence: number, patience: number): void {
    const before = ear.lookedAt;
    ear.lookedAt = performance.now();
    if (deliveredSequence <= ear.deliveredSequence) return;
    ear.deliveredSequence = deliveredSequence;
    for (const watched of ear.watched.values()) {
      if (watched.dueAt > before) continue;
      watched.deliveries--;
      watched.dueAt = ear.lookedAt + patience;
    }
  }

  private choose(name: string, { watched }: Ear, wanted: ReadonlySet<number>, fresh: () => Pick<Watched, 'deliveries' | 'dueAt'>): void {
    for (const [sequence, { alive, unsubscribe }] of watched) {
      if (wanted.has(sequence) && !alive) continue;
      unsubscribe();
      watched.delete(sequence);
    }
    for (const sequence of wanted) if (!watched.has(sequence)) watched.set(sequence, this.listen(name, sequence, fresh()));
  }

  /** Acknowledgements in both forms: `$JS.ACK.<stream>.<consumer>.<count>.<sequence>.…`, and with domain and account before the stream. */
  private listen(name: string, sequence: number, fresh: Pick<Watched, 'deliveries' | 'dueAt'>): Watched {
    const tail = `${name}.*.${sequence}.>`;
    const heard = () => {
      watched.alive = true;
    };
    const stops = [`$JS.ACK.${tail}`, `$JS.ACK.*.*.${tail}`].map((subject) => this.connection.subscribe(subject, heard));
    const watched: Watched = { ...fresh, alive: false, unsubscribe: () => stops.forEach((stop) => void stop()) };
    return watched;
  }
}
