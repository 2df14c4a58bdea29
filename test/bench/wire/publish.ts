import { payloadBytes } from '../harness/payload.js';
import { names } from './admin.js';
import type { WireLink } from './link.js';
import { keyOf, taskHeaders } from './task.js';

/** Messages in flight: what the server can hold without the loop ever waiting for it. */
export const WINDOW = 4096;

const QUOTE_AFTER_ERROR = 'e'.charCodeAt(0);
const DIGIT_9 = '9'.charCodeAt(0);

/** Reads a PubAck from its bytes: `{"stream":"…","seq":12}`; an error begins `{"error"`, a duplicate ends in `true}`. */
export function storedNew(ack: Uint8Array): boolean {
  return ack.length > 20 && ack[2] !== QUOTE_AFTER_ERROR && ack[ack.length - 2]! <= DIGIT_9;
}

/** Stores `count` tasks in one lane, at most `WINDOW` unacknowledged; resolves when each has its PubAck. @throws Error at the first refusal */
export function publishTasks(link: WireLink, namespace: string, count: number): Promise<void> {
  const { taskPrefix } = names(namespace);
  return new Promise((resolve, reject) => {
    let sent = 0;
    let stored = 0;
    const publish = () => {
      const key = keyOf(sent);
      link.send(taskPrefix + key, payloadBytes, taskHeaders(key, sent), (reply) => {
        if (!storedNew(reply.data)) reject(new Error(`not stored: ${reply.string() || reply.headers?.code}`));
        stored += 1;
        if (sent < count) publish();
        else if (stored === count) resolve();
      });
      sent += 1;
    };
    while (sent < Math.min(count, WINDOW)) publish();
  });
}
