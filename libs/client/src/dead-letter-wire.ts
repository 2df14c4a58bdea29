import type {
  CommandInput,
  CommandOutput,
  DEAD_LETTER_COMMANDS,
  DeadLetter,
  DeadLetterFilter,
  DeadLetterJob,
  DeadLetterPreview,
  RedriveAnswer,
} from '@jetlane/protocol';
import type { ManyOptions, RedriveOptions } from './dead-letter-options.js';

type Commands = typeof DEAD_LETTER_COMMANDS;
type RedriveInput = CommandInput<Commands['redrive']>;
type Moved = CommandOutput<Commands['redrive']>;
/** A job as the commands answer it. */
export type JobView = CommandOutput<Commands['job']>;
/** A preview as the commands answer it. */
export type PreviewView = Extract<Moved, { readonly sample: unknown }>;
/** The redrive of one dead letter as the commands answer it. */
export type RedrivenView = Extract<Moved, { readonly hop: number }>;
type LetterView = PreviewView['sample'][number];

/** A change as a redrive takes it: a payload in bytes travels as base64. Fields that nobody knows go along, so that the service refuses them. */
export function changeInput({ data, contentType: content_type, ...rest }: Omit<RedriveOptions, 'by'>): RedriveInput {
  if (data instanceof Uint8Array) return { ...rest, base64: Buffer.from(data).toString('base64'), content_type };
  return { ...rest, content_type, ...(data === undefined ? {} : { task_data: data }) };
}

/** What many dead letters are chosen by, as redrive and discard take it. As for unknown fields: see {@link changeInput}. */
export function manyInput<O extends Omit<ManyOptions, 'by'>>(filter: DeadLetterFilter, { after: cursor, ...rest }: O) {
  const { queue: queue_name, type: task_type, ...others } = filter;
  return { filter: { queue_name, task_type, ...others }, cursor, ...rest };
}

/** See {@link RedrivenView}. */
export function answerOf({ task_id: id, dry_run, ...rest }: RedrivenView): RedriveAnswer {
  return { id, ...rest, ...(dry_run ? { dryRun: true } : {}) };
}

/** See {@link JobView}. */
export function jobOf({
  job_id: id,
  filter,
  started_at: startedAt,
  updated_at: updatedAt,
  error,
  failures,
  ...rest
}: JobView): DeadLetterJob {
  const { queue_name: queue, task_type: type, ...others } = filter;
  return present({
    ...rest,
    id,
    filter: present({ queue, type, ...others }),
    startedAt,
    updatedAt,
    error: error && { code: error.code, message: error.detail },
    failures: failures.map((failure) => ({ id: failure.task_id, code: failure.code, message: failure.detail })),
  });
}

/** See {@link PreviewView}. */
export function previewOf({ matched, sample, cursor: next }: PreviewView): DeadLetterPreview {
  return present({ dryRun: true, matched, sample: sample.map(letterOf), next });
}

function letterOf({ task_id: id, queue_name: queue, task_type: type, ...letter }: LetterView): DeadLetter & { readonly problem?: string } {
  const { dead_at: deadAt, stored_at: storedAt, content_type: contentType, ...rest } = letter;
  return present({ ...rest, id, queue, type, deadAt, storedAt, contentType });
}

/** Without the fields that are undefined. */
const present = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
