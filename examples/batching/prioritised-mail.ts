import { BatchedQueue } from '@jetlane/batching';

/** Mail in three priorities: a password reset never waits behind a newsletter. */
interface Mail {
  readonly to: string;
  readonly subject: string;
}

const PRIORITY = { transactional: 0, digest: 1, newsletter: 2 } as const;

/** Resolves with the message id of each mail, in the order in which the mails were sent. */
export async function main(log: (line: string) => void = console.log): Promise<void> {
  let next = 1;
  await using queue = new BatchedQueue<Mail, string>({
    name: 'mail',
    batchSize: 2,
    flushInterval: '20ms',
    priorityLevels: 3,
    // The relay takes at most 100 mails a second.
    rateLimit: { items: 100, interval: '1s' },
    processor: (mails) =>
      mails.map((mail) => {
        log(mail.subject);
        return { success: true, value: `<${next++}@example.org>` };
      }),
  });
  queue.pause();
  await queue.enqueue({ to: 'a@example.org', subject: 'News of the week' }, PRIORITY.newsletter);
  await queue.enqueue({ to: 'b@example.org', subject: 'Your digest' }, PRIORITY.digest);
  const reset = await queue.enqueue({ to: 'c@example.org', subject: 'Reset your password' }, PRIORITY.transactional);
  queue.resume();
  log(`reset went out first, as ${await reset.result}`);
}
