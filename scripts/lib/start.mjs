import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt } from './build.mjs';
import { report } from './fail.mjs';
import { ensureInstalled } from './install.mjs';
import { ROOT } from './run.mjs';

/** Ctrl-C reaches us twice, from the terminal and through npm: only a second one after this long means "now!". */
const IMPATIENT_AFTER_MS = 800;

/** Installs and builds what is missing, runs the platform, and stops it on Ctrl-C. */
export async function start() {
  console.log('Jetlane is starting');
  try {
    await ensureInstalled();
    await ensureBuilt();
    await runPlatform();
  } catch (error) {
    report(error);
    process.exit(1);
  }
}

async function runPlatform() {
  const { startPlatform, formatEvent, formatTable } = await import(pathToFileURL(join(ROOT, 'libs/testing/dist/index.js')).href);
  const onEvent = (event) => {
    const line = formatEvent(event);
    if (line !== undefined) console.log(line);
  };
  let platform;
  const stop = stopOnSignal(() => platform);
  platform = await startPlatform({ root: ROOT, onEvent });
  if (stop.asked) return stop.now();
  console.log(`\n${formatTable(platform)}\n\nCtrl-C stops everything. In another terminal, "npm run demo" sends 10,000 tasks through it.`);
  // The children are held by this process, and it is kept alive by them.
}

/** Answers the signals that ask a program to end, and the death of npm, which would leave nobody to send one. */
function stopOnSignal(platform) {
  const state = { asked: false, now: () => end() };
  let askedAt = 0;
  const end = async () => {
    const running = platform();
    // Not up yet: our children are ended by the lifeline as soon as we are gone.
    if (running === undefined) process.exit(130);
    await running.stop();
    process.exit(0);
  };
  const ask = () => {
    if (!state.asked) {
      state.asked = true;
      askedAt = performance.now();
      end().catch((error) => {
        report(error);
        process.exit(1);
      });
    } else if (performance.now() - askedAt > IMPATIENT_AFTER_MS) {
      console.log('Killing what is left.');
      platform()?.kill();
      process.exit(1);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, ask);
  followNpm(ask);
  return state;
}

/**
 * npm that is killed cannot pass the signal on, and we would run on without anybody to stop us. It is our parent, or, where
 * the shell in between does not replace itself, our parent's parent.
 */
function followNpm(ask) {
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return;
  const parent = process.ppid;
  const { name, ppid: grandparent } = describeProcess(parent);
  const npmPid = name.startsWith('npm') ? parent : grandparent;
  setInterval(() => {
    if (process.ppid !== parent || !exists(npmPid)) ask();
  }, 500).unref();
}

function exists(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Name and parent of a process; from /proc where there is one, since small images have no `ps`. */
function describeProcess(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    return { name: stat.slice(stat.indexOf('(') + 1, end), ppid: Number(stat.slice(end + 2).split(' ')[1]) };
  } catch {
    return describeWithPs(pid);
  }
}

function describeWithPs(pid) {
  const { stdout } = spawnSync('ps', ['-o', 'ppid=,comm=', '-p', String(pid)], { encoding: 'utf8' });
  const [ppid, ...name] = (stdout ?? '').trim().split(/\s+/);
  return { name: name.join(' '), ppid: Number(ppid) };
}
