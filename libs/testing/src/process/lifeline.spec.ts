import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { ManagedProcess } from './managed-process.js';
import { pidExists, reclaimRun, writeRunRecord } from './run-record.js';
import { waitUntil } from './wait-until.js';

const dir = mkdtempSync(join(tmpdir(), 'jetlane-lifeline-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A process that holds a child of its own and prints the child's pid. `setting` runs in the child, before it idles. */
async function parentWithChild(setting = ''): Promise<{ parent: ChildProcess; childPid: number }> {
  const lifeline = fileURLToPath(new URL('./lifeline.ts', import.meta.url));
  const idle = `${setting} setInterval(() => {}, 1000); process.send('up')`;
  const script = `
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    import { holdOn } from ${JSON.stringify(lifeline)};
    const child = spawn(process.execPath, ['-e', ${JSON.stringify(idle)}], { detached: true, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    await once(child, 'message');
    child.disconnect();
    child.unref();
    setInterval(() => {}, 1000);
    holdOn(child, 'SIGTERM');
    console.log(child.pid);`;
  const parent = spawn(process.execPath, [...typeScriptFlags(), '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  return { parent, childPid: Number(line) };
}

/** Node 20 cannot import TypeScript; the compiled file is beside it after a build, else Vite's own transform does it. */
function typeScriptFlags(): string[] {
  return ['--import', `data:text/javascript,${encodeURIComponent(loader())}`, '--disable-warning=ExperimentalWarning'];
}

function loader(): string {
  const hooks = `
    import { readFileSync } from 'node:fs';
    import { transformWithOxc } from ${JSON.stringify(import.meta.resolve('vite'))};
    export async function load(url, context, next) {
      if (!url.endsWith('.ts')) return next(url, context);
      const { code } = await transformWithOxc(readFileSync(new URL(url), 'utf8'), url);
      return { format: 'module', source: code, shortCircuit: true };
    }`;
  return `import { register } from 'node:module'; register('data:text/javascript,' + ${JSON.stringify(encodeURIComponent(hooks))});`;
}

describe('holdOn', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)('ends the child when the parent gets %s', async (signal) => {
    const { parent, childPid } = await parentWithChild();
    expect(pidExists(childPid)).toBe(true);
    parent.kill(signal);
    expect(await waitUntil(() => !pidExists(childPid))).toBe(true);
  });

  it('insists when the child ignores the signal', async () => {
    const { parent, childPid } = await parentWithChild('process.on("SIGTERM", () => {});');
    parent.kill('SIGKILL');
    expect(await waitUntil(() => !pidExists(childPid), { timeoutMs: 12_000 })).toBe(true);
  });
});

describe('ManagedProcess', () => {
  const idle = { name: 'idle', command: process.execPath, logFile: join(dir, 'idle.log') };

  it('stops once, however often it is asked', async () => {
    const managed = await ManagedProcess.spawn({ ...idle, args: ['-e', 'setInterval(() => {}, 1000)'] });
    const exits = await Promise.all([managed.stop(), managed.stop()]);
    expect(exits[0]).toEqual({ code: null, signal: 'SIGTERM' });
    expect(exits[1]).toBe(exits[0]);
  });

  it('kills what does not stop in time', async () => {
    const script = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)';
    const managed = await ManagedProcess.spawn({ ...idle, args: ['-e', script], stopTimeoutMs: 100 });
    await waitUntil(() => managed.tail().includes('up'));
    expect(await managed.stop()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('keeps the last lines of this run only', async () => {
    const say = async (text: string) => {
      const managed = await ManagedProcess.spawn({ ...idle, args: ['-e', `console.error(${JSON.stringify(text)})`] });
      await managed.exited;
      return managed.tail();
    };
    expect(await say('one')).toEqual(['one']);
    expect(await say('two\nthree')).toEqual(['two', 'three']);
  });

  it('fails clearly when there is nothing to run', async () => {
    await expect(ManagedProcess.spawn({ ...idle, command: join(dir, 'nothing') })).rejects.toMatchObject({ code: 'start-failed' });
  });
});

describe('reclaimRun', () => {
  it('stops what a dead owner left behind', async () => {
    const { parent, childPid } = await parentWithChild();
    const file = join(dir, 'orphan.json');
    // Recorded as if the parent, soon dead, had started it.
    writeRunRecord(file, childPid);
    await expect(reclaimRun(file, 'thing')).rejects.toMatchObject({ code: 'already-running' });
    const { readFileSync, writeFileSync } = await import('node:fs');
    const record = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...record, owner: { pid: process.pid, startedAt: 'another life' } }));
    await reclaimRun(file, 'thing');
    expect(pidExists(childPid)).toBe(false);
    parent.kill('SIGKILL');
  });
});
