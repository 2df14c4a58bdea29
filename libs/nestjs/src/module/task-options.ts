import type { NewTask } from '@jetlane/client';
import { closest, JetlaneError } from '@jetlane/protocol';

/** How a task is enqueued, beside its type and payload. */
export type TaskOptions = Omit<NewTask, 'type' | 'data'>;

const FIELDS = Object.keys({
  lane: true,
  delay: true,
  key: true,
  group: true,
  retry: true,
  timeout: true,
  deadline: true,
  replyTo: true,
  contentType: true,
  traceparent: true,
  tracestate: true,
} satisfies Record<keyof TaskOptions, true>);
const KNOWN: ReadonlySet<string> = new Set(FIELDS);
/** What BullMQ calls them. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  jobId: 'key',
  priority: 'lane',
  attempts: 'retry: { attempts }',
  backoff: 'retry: { backoff, initialDelay }',
};

/**
 * A key that nobody reads would let a task run twice, a delay that nobody reads too early.
 * @throws JetlaneError `invalid-argument` for a field that does not exist
 */
export function checkTaskOptions(options: TaskOptions): void {
  for (const [field, value] of Object.entries(options)) if (value !== undefined && !KNOWN.has(field)) throw unknownOption(field);
}

function unknownOption(field: string): JetlaneError {
  const meant = ELSEWHERE[field] ?? closest(field, KNOWN);
  const hint = meant ? `did you mean ${meant}?` : `there are: ${FIELDS.join(', ')}`;
  return new JetlaneError('invalid-argument', `enqueue has no option "${field}"; ${hint}`, { details: { field } });
}
