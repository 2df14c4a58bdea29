import {
  type CommandInput,
  type CommandOutput,
  type DEAD_LETTER_COMMANDS,
  type DeadLetterJob,
  type DeadLetterPreview,
  deadLetterFilterOf,
  deadLetterJobView,
  deadLetterPreviewView,
} from '@jetlane/protocol';

type Commands = typeof DEAD_LETTER_COMMANDS;
type Redrive = CommandInput<Commands['redrive']>;
type Discard = CommandInput<Commands['discard']>;
type Moved = DeadLetterJob | DeadLetterPreview;

/** The input of a registered redrive or discard as `DeadLetters` takes it. */
export function orderOf(input: Redrive | Discard, by: string): object {
  const { task_id: id, filter, cursor: after, dry_run: dryRun, ...rest } = input;
  const { task_data, content_type: contentType, ...others } = rest as Omit<Redrive, 'task_id' | 'filter' | 'cursor' | 'dry_run'>;
  // A payload of null is one.
  const edit = Object.hasOwn(rest, 'task_data') ? { data: task_data } : {};
  return { ...defined({ id, filter: filter && deadLetterFilterOf(filter), after, dryRun, contentType, ...others }), ...edit, by };
}

/** What became of one dead letter, or of many, as the commands answer it. */
export function movedView<T extends { readonly id: string; readonly dryRun?: true }>(
  result: T | Moved,
): CommandOutput<Commands['redrive']> & CommandOutput<Commands['discard']> {
  const view = 'matched' in result ? deadLetterPreviewView(result) : 'state' in result ? deadLetterJobView(result) : oneView(result);
  return view as CommandOutput<Commands['redrive']> & CommandOutput<Commands['discard']>;
}

function oneView({ id, dryRun, ...answer }: { readonly id: string; readonly dryRun?: true }): object {
  return { task_id: id, ...answer, ...defined({ dry_run: dryRun }) };
}

const defined = (value: object): object => Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
