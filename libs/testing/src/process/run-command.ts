import { execFile, spawnSync } from 'node:child_process';
import { LaunchError } from '../errors.js';

/** How to run a short command. */
export interface RunCommandOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  user?: { uid: number; gid: number };
  /** Written to its standard input. */
  input?: string;
  /** Default 60,000. */
  timeoutMs?: number;
}

/**
 * Runs a command to its end and returns what it printed.
 *
 * @throws LaunchError `command-failed` with the last line it complained with.
 */
export function runCommand(command: string, args: readonly string[], options: RunCommandOptions = {}): Promise<string> {
  const { cwd, env, user, input, timeoutMs = 60_000 } = options;
  return new Promise((resolve, reject) => {
    const settings = { cwd, env, timeout: timeoutMs, maxBuffer: 16 * 1024 * 1024, windowsHide: true, ...user };
    const child = execFile(command, [...args], settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(commandFailed(command, error, stderr || stdout));
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}

/** What a command prints, or an empty string when it is missing or fails. For quick questions to the system only. */
export function commandOutput(command: string, args: readonly string[]): string {
  const result = spawnSync(command, [...args], { encoding: 'utf8', timeout: 3_000, windowsHide: true });
  return result.status === 0 ? result.stdout.trim() : '';
}

function commandFailed(command: string, error: Error & { code?: unknown }, output: string): LaunchError {
  const lines = output.trim().split('\n').filter(Boolean);
  const said = lines.findLast((line) => /error|fatal|^E:/i.test(line)) ?? lines.at(-1) ?? error.message;
  const reason = error.code === 'ENOENT' ? 'it is not installed' : said.trim();
  return new LaunchError('command-failed', `${command} failed: ${reason}`, {
    cause: error,
    details: { command, output: output.slice(-2_000) },
  });
}
