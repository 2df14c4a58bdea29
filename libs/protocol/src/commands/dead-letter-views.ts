import type { z } from 'zod';
import type { DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterJob, DeadLetterPage, DeadLetterPreview } from '../dead-letter.js';
import type { ErrorRecord } from '../record.js';
import type {
  deadLetterDetailSchema,
  deadLetterJobSchema,
  deadLetterPageSchema,
  deadLetterPreviewSchema,
  deadLetterSchema,
} from './dead-letter-schemas.js';
import type { DEAD_LETTER_COMMANDS } from './dead-letters.js';

/** A dead letter as the commands answer it. Undefined for what is not there: JSON leaves it out. */
export function deadLetterView(letter: DeadLetter, stacks = false): z.output<typeof deadLetterSchema> {
  const error = (record: ErrorRecord) => ({
    name: record.name,
    message: record.message,
    code: record.code,
    ...(stacks ? { stack: record.stack } : {}),
  });
  return {
    task_id: letter.id,
    sequence: letter.sequence,
    queue_name: letter.queue,
    lane: letter.lane,
    task_type: letter.type,
    group: letter.group,
    hop: letter.hop,
    attempt: letter.attempt,
    reason: letter.reason,
    error: letter.error && error(letter.error),
    history: letter.history.map((entry) => ({ ...error(entry), attempt: entry.attempt, at: entry.at, worker: entry.worker })),
    fingerprint: letter.fingerprint,
    dead_at: letter.deadAt,
    stored_at: letter.storedAt,
    source: letter.source,
    content_type: letter.contentType,
    bytes: letter.bytes,
  };
}

/** A dead letter with payload and stacks: for who looks into one failure. */
export function deadLetterDetailView(letter: DeadLetterDetail): z.output<typeof deadLetterDetailSchema> {
  return { ...deadLetterView(letter, true), ...('base64' in letter ? { base64: letter.base64 } : { task_data: letter.data }) };
}

/** A job over dead letters as the commands answer it. */
export function deadLetterJobView(job: DeadLetterJob): z.output<typeof deadLetterJobSchema> {
  const { id, filter, startedAt, updatedAt, error, failures, ...rest } = job;
  const { queue: queue_name, type: task_type, ...others } = filter;
  return {
    job_id: id,
    ...rest,
    filter: { queue_name, task_type, ...others },
    started_at: startedAt,
    updated_at: updatedAt,
    error: error && { code: error.code, detail: error.message },
    failures: failures.map(({ id: task_id, code, message }) => ({ task_id, code, detail: message })),
  };
}

/** A page of dead letters as the commands answer it. */
export function deadLetterPageView({ items, next, scanned, total }: DeadLetterPage): z.output<typeof deadLetterPageSchema> {
  return { items: items.map((letter) => deadLetterView(letter)), cursor: next, scanned, total };
}

/** A preview as the commands answer it. */
export function deadLetterPreviewView({ matched, sample, next }: DeadLetterPreview): z.output<typeof deadLetterPreviewSchema> {
  const items = sample.map((letter) => ({ ...deadLetterView(letter), problem: letter.problem }));
  return { dry_run: true, matched, sample: items, cursor: next };
}

type ApiFilter = Omit<z.output<(typeof DEAD_LETTER_COMMANDS)['list']['input']>, 'limit' | 'cursor'>;

/** The filter of a command as the libraries take it. */
export function deadLetterFilterOf({ queue_name, task_type, ...rest }: ApiFilter): DeadLetterFilter {
  return Object.fromEntries(Object.entries({ queue: queue_name, type: task_type, ...rest }).filter(([, value]) => value !== undefined));
}
