import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { waitUntil } from '@jetlane/testing';
import { build } from 'vite';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CONDITIONS = ['jetlane-source', 'node'];
const built = new Map<string, Promise<string>>();
const running = new Set<ChildProcess>();
// One that was stopped would not notice that its parent is gone.
process.once('exit', () => running.forEach((child) => void child.kill('SIGKILL')));

/** One line that a child printed, as JSON. */
export type ChildLine = Record<string, unknown> & { readonly event: string };

/** A process of its own that runs a TypeScript program of the tests, on the sources, and tells by JSON lines what it does. */
export class Child {
  readonly lines: ChildLine[] = [];
  readonly errors: string[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  private constructor(private readonly process: ChildProcess) {
    createInterface(process.stdout!).on('line', (line) => this.lines.push(JSON.parse(line) as ChildLine));
    createInterface(process.stderr!).on('line', (line) => this.errors.push(line));
    running.add(process);
    this.exited = once(process, 'exit').then(([code, signal]) => {
      running.delete(process);
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  /**
   * @param program path below the root of the repository
   * @param input given to the program as JSON, its first argument
   */
  static async start(program: string, input: object): Promise<Child> {
    const script = await bundle(program);
    return new Child(
      spawn(process.execPath, ['--enable-source-maps', script, JSON.stringify(input)], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }),
    );
  }

  of(event: string): ChildLine[] {
    return this.lines.filter((line) => line.event === event);
  }

  /** Waits for a line; fails with what the child said when it does not come. */
  async said(event: string, count = 1, timeoutMs = 20_000): Promise<void> {
    if (await waitUntil(() => this.of(event).length >= count, { timeoutMs })) return;
    throw new Error(`the child did not say ${count} x "${event}": ${JSON.stringify(this.lines)} ${this.errors.join('\n')}`);
  }

  tell(message: string): void {
    this.process.send(message);
  }

  /** Tells it something and waits for the next message of the child. */
  async ask<T>(message: string): Promise<T> {
    const answer = once(this.process, 'message') as Promise<[T]>;
    this.process.send(message);
    return (await answer)[0];
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** For the end of a test, whatever state it is in. */
  async end(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }
}

function bundle(program: string): Promise<string> {
  const known = built.get(program);
  if (known) return known;
  const outDir = join(ROOT, 'node_modules', '.cache', 'jetlane-tests', `${process.pid}-${built.size}`);
  process.once('exit', () => rmSync(outDir, { recursive: true, force: true }));
  const making = build({
    root: ROOT,
    configFile: false,
    logLevel: 'error',
    ssr: { noExternal: [/^@jetlane\//], resolve: { conditions: CONDITIONS, externalConditions: CONDITIONS } },
    build: {
      ssr: join(ROOT, program),
      outDir,
      emptyOutDir: true,
      sourcemap: 'inline',
      rollupOptions: { output: { entryFileNames: 'child.mjs' } },
    },
  }).then(() => join(outDir, 'child.mjs'));
  built.set(program, making);
  return making;
}
