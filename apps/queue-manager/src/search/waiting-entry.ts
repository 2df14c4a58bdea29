import type { StoredMessage } from '@jetlane/jetstream';
import { errorText, HEADER, headerValue, isLane, type Lane, parseHistory, type TaskEntry } from '@jetlane/protocol';

/** A task whose message waits somewhere, as the search shows it. Whatever a stranger wrote into its headers, this reads it. */
export function waitingEntry(id: string, state: TaskEntry['state'], message: StoredMessage, more: Partial<TaskEntry> = {}): TaskEntry {
  const header = (name: string) => headerValue(message.headers, name);
  const error = parseHistory(header(HEADER.errors)).at(-1);
  const created = count(header(HEADER.createdAt));
  const type = header(HEADER.type);
  const group = header(HEADER.group);
  return {
    ...{ id, queue: id.slice(0, id.indexOf('.')), state },
    ...(type === undefined ? {} : { type }),
    ...(group === undefined ? {} : { group }),
    attempt: count(header(HEADER.attempt)) ?? 1,
    hop: count(header(HEADER.hop)) ?? 1,
    ...(error ? { error: errorText(error) } : {}),
    ...more,
    at: { ...(created === undefined ? {} : { created }), stored: message.storedAt, ...more.at },
  };
}

/** A task whose timer has not fired. */
export function timerEntry(id: string, message: StoredMessage): TaskEntry {
  const header = (name: string) => headerValue(message.headers, name);
  const due = Date.parse(header(HEADER.schedule)?.slice('@at '.length) ?? '');
  const lane = header(HEADER.scheduleTarget)?.split('.').at(-2) ?? '';
  const attempt = count(header(HEADER.attempt)) ?? 1;
  return waitingEntry(id, attempt > 1 ? 'retrying' : 'scheduled', message, {
    ...(isLane(lane) ? { lane: lane as Lane } : {}),
    at: Number.isNaN(due) ? {} : { scheduled_for: due },
  });
}

function count(text: string | undefined): number | undefined {
  const value = Number(text);
  return text && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
