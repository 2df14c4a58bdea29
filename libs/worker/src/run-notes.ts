import type { LogLine } from '@jetlane/protocol';

/** Longest JSON of a progress, in characters. */
const PROGRESS_LIMIT = 1024;
const MOST_LINES = 50;
const LONGEST_LINE = 500;
const LONGEST_LOG = 4000;

/** What a few runs have beside the ordinary: progress, log, a timeout. Made when it is first needed. */
export class RunNotes {
  /** Length of the run's timeout in ms, 0 for none. */
  timeoutMs = 0;
  /** As it is told: a copy, so that later changes by the handler do not show. */
  progress: unknown;
  /** Length of the progress as JSON, in characters. */
  progressSize = 0;
  private lines: LogLine[] = [];
  private size = 0;

  /** The last lines, or nothing when there is none. */
  get log(): readonly LogLine[] | undefined {
    return this.lines.length > 0 ? this.lines : undefined;
  }

  /** @throws TypeError for what is neither a number nor an object that JSON can hold within the limit */
  setProgress(progress: unknown): void {
    const json = progressJson(progress);
    this.progress = JSON.parse(json);
    this.progressSize = json.length;
  }

  addLine(line: string): void {
    const text = line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE - 1)}…` : line;
    this.lines.push({ at: Date.now(), text });
    this.size += text.length;
    while (this.lines.length > MOST_LINES || this.size > LONGEST_LOG) this.size -= this.lines.shift()!.text.length;
  }
}

function progressJson(progress: unknown): string {
  if (typeof progress === 'number' && !Number.isNaN(progress)) return String(Math.min(100, Math.max(0, progress)));
  if (typeof progress !== 'object' || progress === null) throw new TypeError('expected percent or an object');
  const json = JSON.stringify(progress) as string | undefined;
  if (json === undefined || json.length > PROGRESS_LIMIT)
    throw new TypeError(`expected an object of at most ${PROGRESS_LIMIT} characters of JSON`);
  return json;
}
