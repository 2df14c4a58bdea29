import { setTimeout as sleep } from 'node:timers/promises';

/** How long and how often to look. */
export interface WaitUntilOptions {
  /** Default 10,000. */
  timeoutMs?: number;
  /** Pause between two looks. Default 10. */
  everyMs?: number;
}

/** Looks until `condition` holds. Resolves to false when the deadline comes first; an error from the condition passes through. */
export async function waitUntil(condition: () => boolean | Promise<boolean>, options: WaitUntilOptions = {}): Promise<boolean> {
  const deadline = performance.now() + (options.timeoutMs ?? 10_000);
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= deadline) return false;
    await sleep(options.everyMs ?? 10);
  }
}
