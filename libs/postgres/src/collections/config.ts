import { z } from 'zod';

/** What tasks may do with a column: read it, also give it to a new row, or also change it. */
export type Access = 'read' | 'insert' | 'write';

/** A column that tasks may name. */
export interface Column {
  readonly access: Access;
  /** Checks values, in rows and in filters alike. */
  readonly schema: z.ZodType;
}

/** The generic operations. */
export const OPERATIONS = ['insert', 'update', 'upsert', 'delete', 'find', 'count'] as const;
/** One of {@link OPERATIONS}. */
export type Operation = (typeof OPERATIONS)[number];

/** A table that tasks may name. What is not listed here cannot be reached. */
export interface Collection {
  readonly table: string;
  /** Columns with a unique index: what an upsert conflicts on, and the default order of `find`. */
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, Column>>;
  readonly operations: readonly Operation[];
  /** A time column that every change sets to now. */
  readonly touch?: string;
}

/** Collections by the name that tasks use. */
export type Collections = Readonly<Record<string, Collection>>;

/** Shorthands for the columns of a collection: `column.text('write')`. */
export const column = {
  text: (access: Access): Column => ({
    access,
    schema: z.string().max(10_000).refine(withoutNul, 'must not contain a NUL character').nullable(),
  }),
  integer: (access: Access): Column => ({ access, schema: z.int().nullable() }),
  decimal: (access: Access): Column => ({
    access,
    schema: z.union([z.number(), z.string().regex(/^-?\d{1,20}(\.\d{1,20})?$/)]).nullable(),
  }),
  time: (access: Access): Column => ({ access, schema: z.iso.datetime({ offset: true }).nullable() }),
};

function withoutNul(value: string): boolean {
  return !value.includes('\0');
}

const movement = {
  id: column.integer('read'),
  user_id: column.text('read'),
  task_id: column.text('read'),
  created_at: column.time('read'),
};
const readOnly = ['find', 'count'] as const;

/**
 * The collections of the worker host. Accounts can be changed, except for their balance, which belongs to the credit
 * handlers (a new row may bring an opening balance). The movements behind the balances are for reading only.
 */
export const DEFAULT_COLLECTIONS: Collections = {
  users: {
    table: 'users',
    key: ['id'],
    columns: {
      id: column.text('insert'),
      name: column.text('write'),
      email: column.text('write'),
      balance: column.integer('insert'),
      registered_at: column.time('read'),
      created_at: column.time('read'),
      updated_at: column.time('read'),
    },
    operations: OPERATIONS,
    touch: 'updated_at',
  },
  purchases: {
    table: 'purchases',
    key: ['id'],
    columns: {
      ...movement,
      amount: column.integer('read'),
      price: column.decimal('read'),
      currency: column.text('read'),
      payment_id: column.text('read'),
    },
    operations: readOnly,
  },
  usages: {
    table: 'usages',
    key: ['id'],
    columns: { ...movement, amount: column.integer('read'), reason: column.text('read') },
    operations: readOnly,
  },
  adjustments: {
    table: 'adjustments',
    key: ['id'],
    columns: { ...movement, delta: column.integer('read'), reason: column.text('read') },
    operations: readOnly,
  },
  credit_scores: {
    table: 'credit_scores',
    key: ['user_id'],
    columns: {
      user_id: column.text('read'),
      score: column.integer('read'),
      purchased: column.integer('read'),
      used: column.integer('read'),
      purchases: column.integer('read'),
      calculated_at: column.time('read'),
    },
    operations: readOnly,
  },
};
