import { type Connection, callCommand } from '@jetlane/jetstream';
import {
  AUDIT_COMMANDS,
  type Command,
  type CommandInput,
  type CommandOutput,
  type CommandRequest,
  DEAD_LETTER_COMMANDS,
  JOB_COMMANDS,
  QUEUE_COMMANDS,
  STEERING_COMMANDS,
  TASK_COMMANDS,
} from '@jetlane/protocol';

/** A method for each command of a group, under the same name. */
export type CommandCalls<G extends Readonly<Record<string, Command>>> = {
  readonly [K in keyof G]: (input: CommandRequest<G[K]>) => Promise<CommandOutput<G[K]>>;
};

/**
 * The commands of the platform as methods, made from their registry: `admin.queues.pause({ queue: 'mail', for: '5m' })`. The services
 * check the input and carry them out; what changes something is audited under the name of the caller.
 * All throw JetlaneError `service-unavailable` when nobody answers, else what the command's description tells.
 */
export class JetlaneAdmin {
  readonly queues: CommandCalls<typeof QUEUE_COMMANDS & typeof STEERING_COMMANDS>;
  readonly jobs: CommandCalls<typeof JOB_COMMANDS>;
  readonly tasks: CommandCalls<typeof TASK_COMMANDS>;
  readonly audit: CommandCalls<typeof AUDIT_COMMANDS>;
  readonly deadLetters: CommandCalls<typeof DEAD_LETTER_COMMANDS>;

  /** @param caller who asks, for the audit: the name of a person or a program */
  constructor(connection: Connection, caller: string) {
    this.queues = callsOf(connection, caller, { ...QUEUE_COMMANDS, ...STEERING_COMMANDS });
    this.jobs = callsOf(connection, caller, JOB_COMMANDS);
    this.tasks = callsOf(connection, caller, TASK_COMMANDS);
    this.audit = callsOf(connection, caller, AUDIT_COMMANDS);
    this.deadLetters = callsOf(connection, caller, DEAD_LETTER_COMMANDS);
  }
}

function callsOf<G extends Readonly<Record<string, Command>>>(connection: Connection, caller: string, group: G): CommandCalls<G> {
  const calls = Object.entries(group).map(([name, command]) => [
    name,
    (input: CommandInput<Command>) => callCommand(connection, command, input, caller),
  ]);
  return Object.fromEntries(calls) as CommandCalls<G>;
}
