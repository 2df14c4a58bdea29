import { type ChildProcess, spawn } from 'node:child_process';

/**
 * Ties children to the life of this process. A tiny shell holds the reading end of a pipe whose only writer is this
 * process; however we end (exit, signal, SIGKILL, crash), the kernel closes the pipe, the shell reads end-of-file and
 * stops what is still on its list: first with the child's own stop signal, after five seconds with SIGKILL.
 *
 * The shell lives in its own session, so that Ctrl-C in the terminal does not reach it. Windows has no such shell; there
 * the children are killed from the `exit` event, and the run record finds what a hard kill leaves behind.
 */
const WATCHDOG = `
trap '' INT TERM HUP
list=''
while read -r verb pid signal; do
  kept=''
  for entry in $list; do [ "\${entry%%:*}" = "$pid" ] || kept="$kept $entry"; done
  list=$kept
  [ "$verb" = add ] && list="$list $pid:$signal"
done
[ -n "$list" ] || exit 0
for entry in $list; do kill -"\${entry##*:}" "\${entry%%:*}" 2>/dev/null; done
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
  alive=''
  for entry in $list; do kill -0 "\${entry%%:*}" 2>/dev/null && alive=yes; done
  [ -n "$alive" ] || exit 0
  sleep 0.2 2>/dev/null || sleep 1
done
for entry in $list; do kill -KILL "\${entry%%:*}" 2>/dev/null; done
`;

let watchdog: ChildProcess | undefined;
const onWindows = new Map<number, ChildProcess>();

/** From now on `child` ends when this process ends. `stopSignal` is how it likes to be asked. */
export function holdOn(child: ChildProcess, stopSignal: NodeJS.Signals): void {
  const { pid } = child;
  if (pid === undefined) return;
  if (process.platform === 'win32') holdOnWindows(pid, child);
  else tell(`add ${pid} ${stopSignal.replace(/^SIG/, '')}`);
  child.once('exit', () => letGo(pid));
}

function letGo(pid: number): void {
  if (process.platform === 'win32') onWindows.delete(pid);
  else tell(`del ${pid} -`);
}

function tell(line: string): void {
  if (watchdog === undefined || watchdog.exitCode !== null) watchdog = startWatchdog();
  watchdog.stdin?.write(`${line}\n`);
}

function startWatchdog(): ChildProcess {
  const shell = spawn('/bin/sh', ['-c', WATCHDOG], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  // The watchdog must not keep this process alive, and its death must not be our crash.
  shell.unref();
  const { stdin } = shell;
  if (stdin !== null && 'unref' in stdin && typeof stdin.unref === 'function') stdin.unref();
  stdin?.on('error', () => undefined);
  shell.on('error', () => undefined);
  return shell;
}

function holdOnWindows(pid: number, child: ChildProcess): void {
  if (onWindows.size === 0) {
    process.once('exit', () => {
      for (const held of onWindows.values()) held.kill();
    });
  }
  onWindows.set(pid, child);
}
