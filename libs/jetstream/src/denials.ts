import { JetlaneError } from '@jetlane/protocol';
import { createInbox, type NatsConnection, PermissionViolationError } from '@nats-io/nats-core';

/** Something that NATS did not let this user do. */
export interface Denial {
  readonly operation: 'publish' | 'subscription';
  readonly subject: string;
  readonly error: JetlaneError;
}

/**
 * Hands on what the server refused for want of a permission. It says so without telling which message it means, so whoever waits
 * for an answer on that subject is told; without that he would wait until his deadline. What nobody waits for is a process warning.
 */
export class Denials {
  private readonly listeners = new Set<(denial: Denial) => boolean>();
  private readonly warned = new Set<string>();

  /** @param listener says whether it concerns him. @returns the way to stop */
  on(listener: (denial: Denial) => boolean): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(violation: PermissionViolationError): void {
    const { operation, subject } = violation;
    const denial: Denial = { operation, subject, error: denied(violation) };
    let known = false;
    for (const listener of [...this.listeners]) known = listener(denial) || known;
    if (!known) this.warn(denial);
  }

  /** Once for all subjects of a kind: a heartbeat would warn every second. Who asked through the client's own calls is told by them. */
  private warn({ operation, subject, error }: Denial): void {
    if (operation === 'publish' && /^\$(JS\.API|KV)\./.test(subject)) return;
    const kind = `${operation} ${subject.split('.').slice(0, 4).join('.')}`;
    if (this.warned.has(kind) || this.warned.size > MOST_WARNINGS) return;
    this.warned.add(kind);
    process.emitWarning(error.message, { code: 'JETLANE_PERMISSION' });
  }
}

const MOST_WARNINGS = 100;

/** The refusal in an error of the client, however deep; `undefined` for any other error. */
export function permissionDenied(error: unknown): JetlaneError | undefined {
  if (error instanceof PermissionViolationError) return denied(error);
  if (error instanceof JetlaneError) return error.code === 'permission-denied' ? error : undefined;
  return error instanceof Error && error.cause !== undefined ? permissionDenied(error.cause) : undefined;
}

function denied(violation: PermissionViolationError): JetlaneError {
  const { operation, subject } = violation;
  const deed = operation === 'publish' ? 'publish to' : 'listen on';
  return new JetlaneError(
    'permission-denied',
    `NATS does not let this user ${deed} "${subject}"; use a user whose role may (deploy/nats/permissions.yaml)`,
    { cause: violation, details: { operation, subject } },
  );
}

/** First tokens of the subjects on which this connection hears answers. */
export const inboxPrefix = (nats: NatsConnection): string =>
  (nats as unknown as { readonly options?: { readonly inboxPrefix?: string } }).options?.inboxPrefix || '_INBOX';

/** A subject for answers that this user may listen on. */
export const newInbox = (nats: NatsConnection): string => createInbox(inboxPrefix(nats));
