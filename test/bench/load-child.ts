import { LoadConnection, type OnAnswer } from './harness/http-client.js';
import type { LoadOrder, LoadReport } from './harness/load.js';
import { percentile } from './harness/measure.js';

process.once('disconnect', () => process.exit(1));

/** The load generator's process: takes one order, reports once, ends. */
process.once('message', (order: LoadOrder) => {
  load(order).then(
    (report) => process.send!({ report }, () => process.exit(0)),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function load(order: LoadOrder): Promise<LoadReport> {
  const times: number[] = [];
  let [accepted, refused, begin, end] = [0, 0, 0, 0];
  const onAnswer = (status: number, millis: number) => {
    if (status === 202) accepted += 1;
    else refused += 1;
    if (begin > 0 && end === 0) times.push(millis);
    return end === 0;
  };
  const request = requestOf(order);
  const allClosed = Promise.all(
    Array.from({ length: order.connections }, () =>
      order.fresh ? freshConnections(order.port, request, onAnswer) : new LoadConnection(order.port, request, onAnswer).closed,
    ),
  );
  setTimeout(() => {
    process.send!({ edge: 'begin' });
    begin = performance.now();
  }, order.warmupMs);
  setTimeout(() => {
    process.send!({ edge: 'end' });
    end = performance.now();
  }, order.warmupMs + order.durationMs);
  await allClosed;
  const report = { accepted, refused, measured: times.length, measuredMs: end - begin };
  return { ...report, p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

/** One connection after the other, each for one request, until it is told to end. */
async function freshConnections(port: number, request: Buffer, onAnswer: OnAnswer): Promise<void> {
  for (let more = true; more; ) {
    const opened = performance.now();
    const connection = new LoadConnection(port, request, (status) => {
      more = onAnswer(status, performance.now() - opened);
      return false;
    });
    await connection.closed;
  }
}

function requestOf({ port, path, body, headers }: LoadOrder): Buffer {
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    'content-type: application/json',
    // Callers are traced too; the gateway passes it on, so that the stored task has the bytes of the bare route's.
    'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    ...headers,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}
