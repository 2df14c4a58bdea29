import type { NewTask, Receipt, TaskClient } from '@jetlane/client';
import { type ErrorCode, JetlaneError } from '@jetlane/protocol';
import { assertQueue, type Caller } from '../access/caller.js';
import { parseJson } from '../http/json-body.js';
import { knownError } from '../http/problem.js';
import { newTask, readTask } from '../routes/enqueue.js';
import type { ReadTexts } from './read-texts.js';
import type { Piece } from './splitter.js';

/** Errors that the summary lists; more are only counted. */
export const LISTED_ERRORS = 1000;

/** What became of one line that was not stored. */
export interface LineError {
  readonly line: number;
  readonly code: ErrorCode;
  readonly detail: string;
}

export interface BatchSummary {
  accepted: number;
  duplicates: number;
  failed: number;
  errors: LineError[];
}

/** Told of every line as it is settled. */
export interface BatchListener {
  stored?(line: number, receipt: Receipt): void;
  failed?(error: LineError): void;
}

/** Stores the tasks of one batch as they are read. Memory is bounded by the client's publish window. */
export class BatchRun {
  readonly summary: BatchSummary = { accepted: 0, duplicates: 0, failed: 0, errors: [] };
  /** Lines of the tasks under way, by their place in the sequence that the client sees. */
  private readonly lines = new Map<number, number>();
  private count = 0;
  private lastLine = 0;

  constructor(
    private readonly client: TaskClient,
    private readonly caller: Caller,
    private readonly listener: BatchListener = {},
    /** Called before each task is taken: the place for back-pressure from the answer. */
    private readonly ready: () => Promise<void> | undefined = () => undefined,
  ) {}

  /** Resolves when everything that could be read is settled. Never rejects because of a line. */
  async run(source: ReadTexts): Promise<BatchSummary> {
    await this.client.enqueueMany(this.tasks(source), {
      onReceipt: (receipt, index) => this.stored(receipt, index),
      onError: (error, index) => this.fail(this.lineOf(index), error),
    });
    return this.summary;
  }

  /** Lines that were read, good and bad ones. */
  get read(): number {
    return this.lastLine;
  }

  /** Notes that the body could not be read to its end. */
  broken(error: JetlaneError): void {
    this.fail(this.lastLine + 1, error);
  }

  private async *tasks(source: ReadTexts): AsyncGenerator<{ queue: string } & NewTask> {
    for await (const pieces of source) {
      for (const piece of pieces) {
        this.lastLine = piece.line;
        const task = this.taskOf(piece);
        if (!task) continue;
        this.lines.set(this.count++, piece.line);
        yield task;
        await this.ready();
      }
    }
  }

  private taskOf({ line, text }: Piece): ({ queue: string } & NewTask) | undefined {
    try {
      if (!text)
        throw new JetlaneError('payload-too-large', 'the task is larger than 1 MiB; store large data elsewhere and send a reference');
      const task = readTask(parseJson(text));
      assertQueue(this.caller, task.queue_name);
      return { queue: task.queue_name, ...newTask(task) };
    } catch (error) {
      this.fail(line, error);
      return undefined;
    }
  }

  private stored(receipt: Receipt, index: number): void {
    this.summary.accepted++;
    if (receipt.duplicate) this.summary.duplicates++;
    this.listener.stored?.(this.lineOf(index), receipt);
  }

  private fail(line: number, thrown: unknown): void {
    const { code, message } = knownError(thrown);
    const error = { line, code, detail: message };
    this.summary.failed++;
    if (this.summary.errors.length < LISTED_ERRORS) this.summary.errors.push(error);
    this.listener.failed?.(error);
  }

  private lineOf(index: number): number {
    const line = this.lines.get(index) ?? 0;
    this.lines.delete(index);
    return line;
  }
}
