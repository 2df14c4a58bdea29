import { stdout } from 'node:process';

const WIDTH = 24;
const number = new Intl.NumberFormat('en');

/** `12,345` */
export const format = (value) => number.format(value);

/** One line that is redrawn on a terminal; elsewhere a new line for every tenth of the way, and for every message. */
export class Progress {
  constructor(total, stream = stdout) {
    this.total = total;
    this.stream = stream;
    this.accepted = 0;
    this.completed = 0;
    this.message = '';
    this.printed = '';
  }

  update(change) {
    Object.assign(this, change);
    if (this.stream.isTTY) this.stream.write(`\r\x1b[2K${this.#line().slice(0, (this.stream.columns ?? 120) - 1)}`);
    else this.#print();
  }

  /** Leaves the last state on the screen. */
  end() {
    if (this.stream.isTTY) this.stream.write('\n');
  }

  #print() {
    const mark = `${tenth(this.accepted, this.total)}/${tenth(this.completed, this.total)}/${this.message}`;
    if (mark === this.printed) return;
    this.printed = mark;
    this.stream.write(`${this.#line()}\n`);
  }

  #line() {
    const filled = Math.floor((WIDTH * this.completed) / this.total);
    const sent = Math.floor((WIDTH * this.accepted) / this.total);
    const bar = '█'.repeat(filled) + '▒'.repeat(Math.max(0, sent - filled)) + '░'.repeat(WIDTH - Math.max(sent, filled));
    const count = (value) => `${format(value)}/${format(this.total)}`;
    return `${bar} accepted ${count(this.accepted)}, completed ${count(this.completed)}${this.message && `  (${this.message})`}`;
  }
}

const tenth = (value, total) => Math.floor((10 * value) / total);
