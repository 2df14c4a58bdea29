import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { commandOutput } from './run-command.js';
import { commandLineOf } from './run-record.js';

/** The process that listens on a port. */
export interface PortHolder {
  pid: number;
  /** Its command line, shortened. */
  command: string;
}

/** Who listens on a local TCP port, as far as the system lets us see (other users' processes need root). */
export function holderOfPort(port: number): PortHolder | undefined {
  const pid = process.platform === 'linux' ? pidFromProc(port) : pidFromLsof(port);
  if (pid === undefined) return undefined;
  const command = commandLineOf(pid);
  return { pid, command: command.length > 60 ? `${command.slice(0, 57)}...` : command };
}

function pidFromLsof(port: number): number | undefined {
  const pid = Number.parseInt(commandOutput('lsof', ['-nP', '-t', `-iTCP:${port}`, '-sTCP:LISTEN']), 10);
  return Number.isInteger(pid) ? pid : undefined;
}

function pidFromProc(port: number): number | undefined {
  const inodes = new Set([...listeningInodes('/proc/net/tcp', port), ...listeningInodes('/proc/net/tcp6', port)]);
  if (inodes.size === 0) return undefined;
  const sockets = new Set([...inodes].map((inode) => `socket:[${inode}]`));
  return readDir('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => readDir(`/proc/${pid}/fd`).some((fd) => sockets.has(linkOf(`/proc/${pid}/fd/${fd}`))));
}

/** proc_net_tcp: column 1 is the local address with a hexadecimal port, column 3 the state (0A = listening), column 9 the inode. */
function listeningInodes(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return readText(table)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] === '0A' && columns[1]?.endsWith(`:${hex}`))
    .map((columns) => columns[9] ?? '');
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function readDir(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
