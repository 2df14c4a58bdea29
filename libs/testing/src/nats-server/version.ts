import { runCommand } from '../process/run-command.js';

/** The oldest nats-server with everything Jetlane needs (message schedules, per-message TTL, pinned consumers). */
export const MINIMUM_NATS_VERSION = '2.14.0';

/** Whether version `a` is at least `b`. A pre-release counts as its release. */
export function isAtLeast(a: string, b: string): boolean {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Asks a nats-server binary for its version, e.g. `2.15.1`. @throws LaunchError `command-failed` or an Error when it is something else. */
export async function versionOf(binary: string): Promise<string> {
  const output = await runCommand(binary, ['--version'], { timeoutMs: 5_000 });
  const version = /nats-server:?\s+v?(\d+\.\d+\.\d+\S*)/.exec(output)?.[1];
  if (version === undefined) throw new Error(`${binary} --version did not answer like a nats-server`);
  return version;
}

function numbersOf(version: string): number[] {
  return version.split(/[.-]/).slice(0, 3).map(Number);
}
