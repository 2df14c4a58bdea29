import { Projection } from '../../apps/queue-manager/src/search/projection.js';

/** Takes records into a projection without end, and tells the position after each commit. */
const { file } = JSON.parse(process.argv[2] ?? '{}') as { file: string };
const projection = Projection.open(file);
const BATCH = 50;

let position = projection.attach({ stream: 's', created: 'c' }, Number.MAX_SAFE_INTEGER);
console.log(JSON.stringify({ event: 'attached', position }));
for (;;) {
  const changes = Array.from({ length: BATCH }, (_, i) => {
    const seq = position + 1 + i;
    const id = `q.k${seq}`;
    // Columns as record-row.ts has them: sequence, id, queue, state, lane, type, group, attempt, hop, stored, expires, …
    const row = [seq, id, 'q', 'completed', 'normal', 't', null, 1, 1, seq, 9e15, null, null, null, null, null, null, null, null];
    return { id, row };
  });
  position += BATCH;
  projection.apply(changes, position);
  console.log(JSON.stringify({ event: 'committed', position }));
  await new Promise((resolve) => setImmediate(resolve));
}
