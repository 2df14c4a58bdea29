import type { Database, Row, Value } from './database.js';
import { COLUMNS } from './record-row.js';
import type { TaskFilter } from './task-filter.js';

/** Rows that one step looks at: about 20 ms, in which nothing else happens in this process. */
const STEP = 10_000;

/** What a step found, newest first. */
export interface Step {
  readonly rows: readonly Row[];
  /** Rows that were looked at. */
  readonly scanned: number;
  /** Only rows below this sequence are left; undefined: none. */
  readonly below?: number;
}

/** The index that a search walks along, newest first: each row of it is looked at, so it is the one that leaves fewest. */
interface Path {
  readonly index: string;
  readonly where: string;
  readonly values: readonly Value[];
}

function pathOf({ states, group, type, queue, error }: TaskFilter): Path {
  // A completed task has no error.
  const unhappy = error !== undefined || !states.has('completed');
  if (group !== undefined) return { index: 'INDEXED BY by_group', where: 'grp = ?', values: [group] };
  if (unhappy && type !== undefined)
    return { index: 'INDEXED BY unhappy_by_type', where: "state <> 'completed' AND type = ?", values: [type] };
  if (unhappy) return { index: 'INDEXED BY unhappy', where: "state <> 'completed'", values: [] };
  if (type !== undefined) return { index: 'INDEXED BY by_type', where: 'type = ?', values: [type] };
  if (queue !== undefined) return { index: 'INDEXED BY by_queue', where: 'queue = ?', values: [queue] };
  return { index: 'NOT INDEXED', where: 'TRUE', values: [] };
}

/** All conditions, as SQL. */
function conditions({ states, group, type, queue, lane, error }: TaskFilter, now: number): { where: string; values: Value[] } {
  const parts: [string, Value][] = [['expires > ?', now]];
  for (const [column, value] of Object.entries({ grp: group, type, queue, lane }))
    if (value !== undefined) parts.push([`${column} = ?`, value]);
  if (error !== undefined) parts.push(["error LIKE ? ESCAPE '\\'", `%${error.replace(/[\\%_]/g, '\\$&')}%`]);
  const wanted = ['completed', 'cancelled', 'dead'].filter((state) => (states as ReadonlySet<string>).has(state));
  const where = [...parts.map(([sql]) => sql), `state IN (${wanted.map((state) => `'${state}'`).join(', ')})`];
  return { where: where.join(' AND '), values: parts.map(([, value]) => value) };
}

/**
 * One step of a search among finished tasks, newest first. First the index alone tells how far the step goes, then the rows of that
 * stretch are read: so a step costs the same whether it finds something or not.
 * @param below only rows below this sequence
 * @param from only rows from this sequence on
 */
export function step(db: Database, filter: TaskFilter, range: { below: number; from: number }, limit: number): Step {
  const path = pathOf(filter);
  const stretch = `FROM tasks ${path.index} WHERE ${path.where} AND seq < ? AND seq >= ?`;
  const reach = db
    .prepare(`SELECT min(seq) AS low, count(*) AS n FROM (SELECT seq ${stretch} ORDER BY seq DESC LIMIT ${STEP})`)
    .get([...path.values, range.below, range.from]);
  const scanned = Number(reach?.n ?? 0);
  if (scanned === 0) return { rows: [], scanned };
  const low = Number(reach?.low);
  const { where, values } = conditions(filter, Date.now());
  const rows = db
    .prepare(`SELECT ${COLUMNS} ${stretch} AND ${where} ORDER BY seq DESC LIMIT ?`)
    .all([...path.values, range.below, low, ...values, limit]);
  if (rows.length === limit) return { rows, scanned, below: Number(rows.at(-1)?.seq) };
  return { rows, scanned, ...(scanned < STEP ? {} : { below: low }) };
}

/** First sequence whose record was stored at this time or later. Sequences and times rise together, so a few looks find it. */
export function sequenceAt(db: Database, time: number): number {
  const bounds = db.prepare('SELECT min(seq) AS low, max(seq) AS high FROM tasks').get();
  let [low, high] = [Number(bounds?.low ?? 0), Number(bounds?.high ?? 0) + 1];
  const next = db.prepare('SELECT seq, stored FROM tasks WHERE seq >= ? ORDER BY seq LIMIT 1');
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const row = next.get([middle]);
    if (!row || Number(row.stored) >= time) high = middle;
    else low = Number(row.seq) + 1;
  }
  return low;
}
