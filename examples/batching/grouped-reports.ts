import { BatchedQueue } from '@jetlane/batching';

/** Report lines, grouped so that a batch is of one customer, and only once the customer has at least three. */
interface Line {
  readonly customer: string;
  readonly amount: number;
}

const LEAST = 3;

function byCustomer(lines: readonly Line[]): Line[][] {
  const groups = new Map<string, Line[]>();
  for (const line of lines) groups.set(line.customer, [...(groups.get(line.customer) ?? []), line]);
  // What is left out stays queued until there is more of it.
  return [...groups.values()].filter((group) => group.length >= LEAST);
}

export async function main(log: (line: string) => void = console.log): Promise<void> {
  const queue = new BatchedQueue<Line>({
    name: 'reports',
    batchSize: 100,
    flushInterval: 10,
    batchingStrategy: byCustomer,
    processor: (lines) => {
      log(`${lines[0]!.customer}: ${lines.reduce((sum, { amount }) => sum + amount, 0)} in ${lines.length} lines`);
      return lines.map(() => ({ success: true }));
    },
    hooks: { onDrop: ({ customer }) => log(`${customer}: left for tomorrow`) },
  });
  for (const customer of ['ada', 'bob', 'ada', 'cyd', 'bob', 'ada', 'bob']) await queue.enqueue({ customer, amount: 10 });
  await queue.flush();
  log(`${queue.size} waiting`);
  await queue.close();
}
