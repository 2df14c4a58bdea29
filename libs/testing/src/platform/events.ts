/** What happens while the platform runs. Times in ms. */
export type PlatformEvent =
  | { type: 'notice'; text: string }
  | { type: 'nats:ready'; url: string; version: string; embedded: boolean; tookMs: number; restarts: number }
  | { type: 'postgres:ready'; url: string; version: string; embedded: boolean; tookMs: number; restarts: number }
  | { type: 'service:ready'; name: string; pid: number; tookMs: number; restarts: number }
  | { type: 'service:exited'; name: string; how: string; restartInMs: number; logFile: string; lines: readonly string[] }
  | { type: 'platform:stopping' }
  | { type: 'platform:stopped'; tookMs: number };

/** Receives events. What it throws is ignored: a broken listener must not stop a platform. */
export type PlatformListener = (event: PlatformEvent) => void;
