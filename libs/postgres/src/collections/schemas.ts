import { z } from 'zod';

/** Most rows that one `find` returns, and its default. */
export const FIND_LIMIT = { max: 1000, default: 100 } as const;
/** Most rows that one `update` or `delete` may touch, and its default. */
export const CHANGE_LIMIT = { max: 10_000, default: 1000 } as const;
/** Most rows in one `insert` or `upsert`, and most values in one `in`. */
export const MAX_ROWS = 1000;

/** A JSON object; unlike `z.record` it does not drop a key such as `__proto__`, so that it is refused like any other. */
const object = z.custom<Record<string, unknown>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected an object',
);

const collection = z.string();
const row = object.refine((value) => Object.keys(value).length > 0, 'must name at least one column');
const rows = z.union([z.array(row).min(1).max(MAX_ROWS), row]).transform((value) => (Array.isArray(value) ? value : [value]));
const requiredFilter = object.refine(
  (value) => Object.keys(value).length > 0,
  'must have at least one condition: all rows at once are never changed',
);
const direction = z.enum(['asc', 'desc']);
const changeLimit = z.int().min(1).max(CHANGE_LIMIT.max).default(CHANGE_LIMIT.default);

/** Shapes of the generic tasks; names of columns and their values are checked against the collection afterwards. */
export const operationData = {
  insert: z.strictObject({ collection, data: rows }),
  upsert: z.strictObject({ collection, data: rows }),
  update: z.strictObject({ collection, filter: requiredFilter, data: row, limit: changeLimit }),
  delete: z.strictObject({ collection, filter: requiredFilter, limit: changeLimit }),
  find: z.strictObject({
    collection,
    filter: object.default({}),
    columns: z.array(z.string()).min(1).optional(),
    order_by: z.record(z.string(), direction).optional(),
    limit: z.int().min(1).max(FIND_LIMIT.max).default(FIND_LIMIT.default),
    offset: z.int().min(0).max(1_000_000).default(0),
  }),
  count: z.strictObject({ collection, filter: object.default({}) }),
} as const;

export type OperationData = { [K in keyof typeof operationData]: z.output<(typeof operationData)[K]> };
