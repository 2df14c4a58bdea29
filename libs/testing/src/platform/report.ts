import type { PlatformEvent } from './events.js';
import type { Platform } from './platform.js';

const NAME_WIDTH = 16;

/** One event as a line (or a few) for a person. Undefined: not worth a line. */
export function formatEvent(event: PlatformEvent): string | undefined {
  switch (event.type) {
    case 'notice':
      return `  ${event.text} …`;
    case 'nats:ready':
      return ready(`nats-server`, `${event.version} ${event.embedded ? again(event) : `(yours) ${event.url}`}`, event.tookMs);
    case 'postgres:ready':
      return ready('PostgreSQL', event.embedded ? `${event.version} ${again(event)}` : `(yours) ${event.url}`, event.tookMs);
    case 'service:ready':
      return ready(event.name, again(event), event.tookMs);
    case 'service:exited':
      return formatExit(event);
    case 'platform:stopping':
      return '\nStopping …';
    case 'platform:stopped':
      return `Stopped in ${seconds(event.tookMs)}. Your data is kept.`;
  }
}

/** The table that a person sees when everything is up. */
export function formatTable(platform: Platform): string {
  const { gateway, nats } = platform.urls;
  const database = platform.urls.database.replace(/:[^:@/]*@/, '@');
  const rows = [
    ['Page', `${gateway}/`],
    ['API', `${gateway}/api/queue`],
    ['API reference', `${gateway}/docs`],
    ['Health', `${gateway}/health/ready`],
    [
      'NATS',
      nats
        .split(',')
        .map((url) => url.replace(/\/\/[^@/]*@/, '//'))
        .join(', '),
    ],
    ['PostgreSQL', platform.postgres === undefined ? database : `${database}  (password: ${platform.postgres.dataDir}/password)`],
  ];
  const width = Math.max(...rows.map(([name]) => name?.length ?? 0));
  return rows.map(([name, value]) => `  ${(name ?? '').padEnd(width)}  ${value}`).join('\n');
}

function formatExit(event: Extract<PlatformEvent, { type: 'service:exited' }>): string {
  const first = `! ${event.name} ended (${event.how}); starting it again in ${seconds(event.restartInMs)}`;
  // One death may be anybody's doing. The third in a row is a crash loop: the reader needs the reason, but needs it once.
  if (event.restartInMs !== 400) return first;
  return [first, ...event.lines.map((line) => `    ${line}`), `    log: ${event.logFile}`].join('\n');
}

function again({ restarts }: { restarts: number }): string {
  return restarts > 0 ? 'again' : '';
}

function ready(name: string, note: string, tookMs: number): string {
  return `  ${name.padEnd(NAME_WIDTH)}ready  ${[note.trim(), `(${seconds(tookMs)})`].filter(Boolean).join(' ')}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
