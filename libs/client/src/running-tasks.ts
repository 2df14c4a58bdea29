import { bodyText, type Connection } from '@jetlane/jetstream';
import type { Heartbeat, RunningTask } from '@jetlane/protocol';

/** A heartbeat older than this says nothing, ms. */
const STALE_MS = 3500;
/** With more workers than this known, those that have fallen silent are forgotten at once, not when a task is looked up. */
const MANY_WORKERS = 1000;

/** What workers say they run now, from their heartbeats: nothing is written down for a running task. */
export class RunningTasks {
  private readonly heartbeats = new Map<string, { at: number; queue: string; running: Map<string, RunningTask> }>();
  private stopListening: (() => void) | undefined;

  constructor(private readonly connection: Connection) {}

  /** Begins to listen and asks all workers for a heartbeat at once. */
  start(): void {
    if (this.stopListening) return;
    const { names } = this.connection;
    this.stopListening = this.connection.subscribe(names.pattern('heartbeats.*.*'), (message) => this.heard(bodyText(message)));
    this.connection.send(names.heartbeatPing());
  }

  stop(): void {
    this.stopListening?.();
    this.stopListening = undefined;
  }

  /** The run of a task, if a worker says that it runs. */
  find(queue: string, key: string, hop: number): (RunningTask & { worker: string }) | undefined {
    const now = Date.now();
    this.forgetSilent(now);
    for (const [worker, heartbeat] of this.heartbeats) {
      const run = heartbeat.queue === queue ? heartbeat.running.get(key) : undefined;
      if (run?.hop === hop) return { ...run, worker };
    }
    return undefined;
  }

  private forgetSilent(now: number): void {
    for (const [worker, { at }] of this.heartbeats) if (now - at > STALE_MS) this.heartbeats.delete(worker);
  }

  private heard(text: string): void {
    try {
      const { worker, queue, running, stopping } = JSON.parse(text) as Heartbeat;
      if (this.heartbeats.size > MANY_WORKERS) this.forgetSilent(Date.now());
      if (stopping) this.heartbeats.delete(worker);
      else this.heartbeats.set(worker, { at: Date.now(), queue, running: new Map(running.map((run) => [run.key, run])) });
    } catch {
      // A stranger's message on our subject: heartbeats are hints, nothing depends on one.
    }
  }
}
