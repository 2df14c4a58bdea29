import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LaunchError } from '../errors.js';
import { commandOutput } from './run-command.js';
import { waitUntil } from './wait-until.js';

/** A process, told apart from a later one that got the same pid. */
interface ProcessIdentity {
  pid: number;
  /** When it started, in whatever unit the system uses; null where the system does not tell. */
  startedAt: string | null;
}

/** What a run record says: which process runs, and who started it. */
interface RunRecord {
  process: ProcessIdentity;
  owner: ProcessIdentity;
}

/** Notes that `pid` runs and that we started it. */
export function writeRunRecord(file: string, pid: number): void {
  const record: RunRecord = { process: identify(pid), owner: identify(process.pid) };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(record));
}

/** Removes the record when it is still about `pid`. */
export function removeRunRecord(file: string, pid: number): void {
  if (readRecord(file)?.process.pid === pid) rmSync(file, { force: true });
}

/**
 * Makes room for a new run. A process left over from an owner that is gone is stopped (asked with `signal`, killed after
 * ten seconds); one whose owner lives is left alone.
 *
 * @throws LaunchError `already-running` when the owner lives.
 */
export async function reclaimRun(file: string, name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const record = readRecord(file);
  if (record === undefined) return;
  if (isAlive(record.process)) {
    if (isAlive(record.owner)) throw alreadyRunning(name, record);
    await stopProcess(record.process.pid, signal);
  }
  rmSync(file, { force: true });
}

/** The process that a record is about and the one that started it, if both live. */
export function liveRun(file: string): { pid: number; ownerPid: number } | undefined {
  const record = readRecord(file);
  if (record === undefined || !isAlive(record.process) || !isAlive(record.owner)) return undefined;
  return { pid: record.process.pid, ownerPid: record.owner.pid };
}

/** Environment variable of another process; undefined where the system does not show it. */
export function environmentOf(pid: number, variable: string): string | undefined {
  const entry = readProc(pid, 'environ')
    .split('\0')
    .find((text) => text.startsWith(`${variable}=`));
  return entry?.slice(variable.length + 1);
}

/** Stops a process that is not our child. Resolves when it is gone. */
export async function stopProcess(pid: number, signal: NodeJS.Signals): Promise<void> {
  sendSignal(pid, signal);
  if (await waitUntil(() => !pidExists(pid), { timeoutMs: 10_000 })) return;
  sendSignal(pid, 'SIGKILL');
  await waitUntil(() => !pidExists(pid), { timeoutMs: 2_000 });
}

/** Whether a process with this pid exists and is not a zombie. */
export function pidExists(pid: number): boolean {
  return sendSignal(pid, 0) && processState(pid) !== 'Z';
}

/** The command line of a process, or an empty string where it cannot be known. */
export function commandLineOf(pid: number): string {
  if (process.platform !== 'linux') return commandOutput('ps', ['-o', 'args=', '-p', String(pid)]);
  return readProc(pid, 'cmdline').replaceAll('\0', ' ').trim();
}

function alreadyRunning(name: string, record: RunRecord): LaunchError {
  const startedBy = record.owner.pid === record.process.pid ? '' : `, started by pid ${record.owner.pid}`;
  const message = `${name} already runs from this folder (pid ${record.process.pid}${startedBy}). Stop it there first (Ctrl-C in its terminal, or kill ${record.owner.pid}).`;
  return new LaunchError('already-running', message, { details: { pid: record.process.pid, ownerPid: record.owner.pid } });
}

function readRecord(file: string): RunRecord | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as RunRecord;
    return Number.isInteger(record.process?.pid) && Number.isInteger(record.owner?.pid) ? record : undefined;
  } catch {
    // A record cut off by a crash says nothing; the ports will tell if something still runs.
    return undefined;
  }
}

function identify(pid: number): ProcessIdentity {
  return { pid, startedAt: startTimeOf(pid) };
}

function isAlive(identity: ProcessIdentity): boolean {
  if (!pidExists(identity.pid)) return false;
  return identity.startedAt === null || startTimeOf(identity.pid) === identity.startedAt;
}

function startTimeOf(pid: number): string | null {
  if (process.platform === 'linux') return statFields(pid)[19] ?? null;
  if (process.platform === 'win32') return null;
  return commandOutput('ps', ['-o', 'lstart=', '-p', String(pid)]) || null;
}

function processState(pid: number): string | undefined {
  return process.platform === 'linux' ? statFields(pid)[0] : undefined;
}

/** proc(5): the fields after the command name, which stands in brackets and may hold anything. */
function statFields(pid: number): string[] {
  const stat = readProc(pid, 'stat');
  return stat === '' ? [] : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    // EPERM: it exists, but belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
