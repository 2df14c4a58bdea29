import { bodyText, type Connection } from '@jetlane/jetstream';
import { type Component, callService, serveCommand, serveRegistered } from '@jetlane/nestjs/service';
import { JetlaneError, WORKER_COMMANDS, type WorkerView } from '@jetlane/protocol';
import { parseHeartbeat, readHeartbeat } from './heartbeat.js';
import { LiveWorkers } from './workers.js';

const SERVICE = 'queue-manager';
/** Internal command by which a queue-manager that starts learns what the others know: who fell silent before. */
const SILENT = 'workers.silent';
const SILENT_TIMEOUT_MS = 1000;

/** Answers `workers.list` and `workers.get`. Every queue-manager listens for itself, so any number of them agree. */
export class LiveWorkersComponent implements Component {
  private stops: (() => void)[] = [];

  constructor(
    private readonly connection: Connection,
    readonly workers: LiveWorkers = new LiveWorkers(),
  ) {}

  async start(): Promise<void> {
    const { connection, workers } = this;
    const { names } = connection;
    const listen = connection.subscribe(names.pattern('heartbeats.*.*'), (message) => {
      const beat = parseHeartbeat(bodyText(message));
      // The subject tells who may have sent it; a heartbeat for another's name is none.
      if (beat && message.subject === names.heartbeat(beat.queue, beat.worker)) workers.heard(beat);
    });
    connection.send(names.heartbeatPing());
    await this.learn();
    this.stops = [
      listen,
      serveCommand(connection, SERVICE, SILENT, async () => workers.silent()),
      serveRegistered(connection, WORKER_COMMANDS.list, async ({ queue, state, limit, cursor }) =>
        page(
          workers.list(queue).filter((worker) => state === undefined || worker.state === state),
          limit,
          cursor,
        ),
      ),
      serveRegistered(connection, WORKER_COMMANDS.get, async ({ queue, worker }) => {
        const found = workers.get(queue, worker);
        if (found) return found;
        throw new JetlaneError('worker-not-found', `no worker "${worker}" of queue "${queue}" told of itself lately; see workers.list`, {
          details: { queue, worker },
        });
      }),
    ];
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
  }

  /** Heartbeats alone do not tell of a worker that died before we listened. The first queue-manager has nobody to ask. */
  private async learn(): Promise<void> {
    const known = await callService(this.connection, SERVICE, SILENT, {}, SILENT_TIMEOUT_MS).catch(() => []);
    if (!Array.isArray(known)) return;
    for (const { beat, at } of known as { beat?: unknown; at?: unknown }[]) {
      const heartbeat = readHeartbeat(beat);
      if (heartbeat && typeof at === 'number') this.workers.heard(heartbeat, at);
    }
  }
}

function page(workers: WorkerView[], limit: number, cursor?: string) {
  const key = ({ queue, worker }: WorkerView) => `${queue} ${worker}`;
  const after = cursor === undefined ? 0 : workers.findIndex((worker) => key(worker) > cursor);
  const items = after < 0 ? [] : workers.slice(after, after + limit);
  const more = after >= 0 && after + limit < workers.length;
  return { items, total: workers.length, ...(more ? { cursor: key(items.at(-1)!) } : {}) };
}
