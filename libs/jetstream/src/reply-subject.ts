import type { Connection } from './connection.js';
import { inboxPrefix } from './denials.js';

/** Printable ASCII in tokens, none of them empty or a wildcard. */
const SUBJECT = /^[!-)+-\-/-=?-~]+(?:\.[!-)+-\-/-=?-~]+)*$/;
const LONGEST_SUBJECT = 256;

/**
 * Whether an answer may go to a subject that somebody else named: below `_INBOX.` (or this connection's own inbox prefix) and `<ns>replies.`,
 * where answers are heard and nothing else. Anybody may name a subject, and must not make a process publish there with its own rights.
 */
export function isReplySubject(connection: Connection, subject: string): boolean {
  if (subject.length > LONGEST_SUBJECT || !SUBJECT.test(subject)) return false;
  const prefixes = ['_INBOX.', `${inboxPrefix(connection.raw())}.`, connection.names.pattern('replies.')];
  return prefixes.some((prefix) => subject.startsWith(prefix));
}
