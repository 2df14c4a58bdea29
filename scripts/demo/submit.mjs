import { readPurchases } from './purchases.mjs';

const REQUESTS_AT_ONCE = 2;

/** The id of a row's task: the same row of the same run is the same task, however often it is sent. */
export const taskKey = (run, row) => `demo-${run}-${row}`;

/** Accounts belong to the run, so that earlier runs do not disturb the sums. */
export const accountId = (run, user) => `demo-${run}-${user}`;

/**
 * Streams the CSV through the gateway.
 * @param {import('./gateway.mjs').Gateway} gateway
 * @param {import('./options.mjs').DemoOptions} options
 * @param {(accepted: number) => void} onAccepted called with the number of tasks stored by one more request
 * @returns {Promise<{duplicates: number}>}
 */
export async function submitPurchases(gateway, options, onAccepted) {
  let duplicates = 0;
  const flying = new Set();
  const send = async (lines) => {
    const answer = await gateway.enqueueBatch(lines);
    duplicates += answer.duplicates;
    onAccepted(lines.length);
  };
  for await (const lines of batches(options)) {
    // A request that fails stays in the set, where the next `race` or `all` finds it.
    const request = send(lines).then(() => flying.delete(request));
    request.catch(() => {});
    flying.add(request);
    if (flying.size >= REQUESTS_AT_ONCE) await Promise.race(flying);
  }
  await Promise.all(flying);
  return { duplicates };
}

async function* batches(options) {
  let lines = [];
  for await (const purchase of readPurchases(options.csv)) {
    lines.push(JSON.stringify(toTask(purchase, options)));
    if (lines.length === options.batch) {
      yield lines;
      lines = [];
    }
  }
  if (lines.length > 0) yield lines;
}

function toTask(purchase, { run, queue }) {
  const key = taskKey(run, purchase.row);
  return {
    queue_name: queue,
    task_type: 'credit_purchase',
    task_data: {
      user_id: accountId(run, purchase.user),
      amount: Number(purchase.amount),
      price: purchase.price,
      currency: purchase.currency,
      payment_id: key,
    },
    priority: 'NORMAL',
    task_id: key,
  };
}
