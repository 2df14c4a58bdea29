/** An end that a person can do something about: the message is all that is shown, without a stack. */
export class Failure extends Error {}

/** Shows what went wrong: the sentence of a known failure, the stack of a bug. */
export function report(error) {
  const known = error instanceof Failure || error?.name === 'LaunchError';
  console.error(`\n${known ? error.message : (error?.stack ?? error)}`);
}
