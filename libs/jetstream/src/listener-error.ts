/**
 * Tells of a listener that threw. It must not reach the NATS client: there the exception ends the reader, and the link is
 * deaf, without a word, until its pings go unanswered (nats-core 3.4.0, protocol.js, `dial`).
 */
export function listenerThrew(what: string, error: unknown): void {
  const detail = error instanceof Error ? error.stack : undefined;
  process.emitWarning(`${what} threw: ${error instanceof Error ? error.message : String(error)}`, {
    code: 'JETLANE_LISTENER',
    ...(detail ? { detail } : {}),
  });
}
