import { open } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import type { AuditState } from './inputs.js';
import { endWithParent, inputOf, say } from './process.js';

/**
 * The audit: keeps what others tell it, and answers when it is on the disk. Every line that comes gets the time and goes
 * into one file; what has come in while the last group was synced is the next group.
 *
 *     C <key> <n> -|dead <sent>     the producer was told that this task is stored, which it sent at that time
 *     F <n> <code>                  the producer was told that it is not
 *     E <key> <attempt> <hop> <delivery> <worker>    a handler's effect
 */
const input = inputOf<{ socket: string; file: string }>();

/** What the runner asks for while the load runs. The verdict reads the file. */
class Tally {
  private readonly waiting = new Set<string>();
  private readonly done = new Set<string>();
  private readonly workers: Record<string, number> = {};
  private confirmed = 0;
  private refused = 0;
  private doomed = 0;
  private effects = 0;

  take(line: string, now: number): void {
    const [verb, key = '', , tag, , worker = ''] = line.split(' ');
    if (verb === 'E') {
      this.effects++;
      this.done.add(key);
      this.waiting.delete(key);
      this.workers[worker] = now;
    } else if (verb === 'F') this.refused++;
    else {
      this.confirmed++;
      if (tag === 'dead') this.doomed++;
      else if (!this.done.has(key)) this.waiting.add(key);
    }
  }

  state(): AuditState {
    const { confirmed, refused, doomed, effects, workers } = this;
    return { confirmed, refused, doomed, effects, workers, outstanding: this.waiting.size };
  }
}

const tally = new Tally();
const file = await open(input.file, 'a');
let group: { text: string; owed: Map<Socket, number> } = { text: '', owed: new Map() };
let writing = false;

async function write(): Promise<void> {
  if (writing) return;
  writing = true;
  while (group.text !== '') {
    const { text, owed } = group;
    group = { text: '', owed: new Map() };
    await file.write(text);
    await file.datasync();
    for (const [socket, count] of owed) if (!socket.destroyed) socket.write(`${count}\n`);
  }
  writing = false;
}

function take(socket: Socket, lines: string[]): void {
  const now = Date.now();
  for (const line of lines) {
    tally.take(line, now);
    group.text += `${now} ${line}\n`;
  }
  group.owed.set(socket, (group.owed.get(socket) ?? 0) + lines.length);
  void write();
}

const server = createServer((socket) => {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('error', () => undefined);
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    if (lines.length > 0) take(socket, lines);
  });
});

endWithParent();
process.on('message', () => process.send!(tally.state()));
server.listen(input.socket, () => say('started'));
