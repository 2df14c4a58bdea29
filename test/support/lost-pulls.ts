import type { Connection } from '@jetlane/jetstream';

/**
 * Makes pulls of a link get lost, while idle heartbeats for them keep coming: what a worker sees whose pull the server has
 * forgotten. `other` sends the heartbeats. `relent` lets new requests through, `heal` also ends the heartbeats.
 */
export function loseRequests(
  link: Connection,
  queue: string,
  other: Connection,
): { relent: () => void; heal: () => void; lost: () => number } {
  const nats = link.raw();
  const publish = nats.publish.bind(nats);
  const replies = new Set<string>();
  let broken = true;
  nats.publish = (subject, data, options) => {
    const { stream } = link.names.lane(queue, 'normal');
    if (!broken || !subject.startsWith(`$JS.API.CONSUMER.MSG.NEXT.${stream}.`)) return publish(subject, data, options);
    replies.add(options!.reply!);
  };
  const beat = setInterval(() => {
    for (const reply of replies) other.send(reply, '', 'NATS/1.0 100 Idle Heartbeat\r\n\r\n');
  }, 500);
  const relent = () => {
    broken = false;
  };
  const heal = () => {
    relent();
    clearInterval(beat);
  };
  return { relent, heal, lost: () => replies.size };
}
