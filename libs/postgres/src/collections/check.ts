import { closest } from '@jetlane/protocol';
import { z } from 'zod';
import type { Issue } from '../input.js';
import { invalidData } from '../input.js';
import type { Access, Collection, Collections, Column, Operation } from './config.js';
import { MAX_ROWS } from './schemas.js';

/** Comparison operators of a filter, as tasks write them and as SQL does. */
export const OPERATORS = { eq: '=', ne: '!=', gt: '>', gte: '>=', lt: '<', lte: '<=', in: 'in' } as const;
export type Operator = keyof typeof OPERATORS;

/** One condition of a filter; all conditions of a filter must hold. */
export interface Condition {
  readonly column: string;
  readonly operator: Operator;
  readonly value: unknown;
}

const RANK: Readonly<Record<Access, number>> = { read: 0, insert: 1, write: 2 };

/**
 * Holds the names and values of one task against its collection and collects all that is wrong.
 * Only names that come out of here reach a query; they are then quoted as identifiers, values are parameters.
 */
export class CollectionCheck {
  readonly #issues: Issue[] = [];

  private constructor(
    readonly collection: Collection,
    private readonly name: string,
    private readonly operation: Operation,
  ) {}

  /** @throws FatalError when the collection is unknown or does not allow the operation */
  static open(collections: Collections, name: string, operation: Operation): CollectionCheck {
    const collection = Object.hasOwn(collections, name) ? collections[name] : undefined;
    if (!collection) {
      throw invalidData(operation, [{ path: 'collection', message: unknownName('collection', name, Object.keys(collections)) }]);
    }
    if (!collection.operations.includes(operation)) {
      const message = `collection "${name}" does not allow ${operation}; it allows ${collection.operations.join(', ')}`;
      throw invalidData(operation, [{ path: 'collection', message }]);
    }
    return new CollectionCheck(collection, name, operation);
  }

  /** @throws FatalError with every issue that was found so far */
  done(): void {
    if (this.#issues.length > 0) throw invalidData(this.operation, this.#issues);
  }

  columns(names: readonly string[], path: string): void {
    for (const name of names) this.#column(name, path);
  }

  /** A row to be written; `access` is what its columns must allow. */
  row(row: Readonly<Record<string, unknown>>, access: Exclude<Access, 'read'>, path: string): void {
    for (const [name, value] of Object.entries(row)) {
      const column = this.#column(name, path);
      if (!column) continue;
      if (RANK[column.access] < RANK[access]) this.#add(`${path}.${name}`, this.#readOnly(name, column.access));
      else this.#value(column, value, `${path}.${name}`);
    }
  }

  /** `{column: value}` or `{column: {operator: value, …}}` as conditions. */
  filter(filter: Readonly<Record<string, unknown>>): Condition[] {
    return Object.entries(filter).flatMap(([name, test]) => {
      const column = this.#column(name, 'filter');
      return column ? this.#conditions(name, column, test) : [];
    });
  }

  #conditions(name: string, column: Column, test: unknown): Condition[] {
    const path = `filter.${name}`;
    if (typeof test !== 'object' || test === null) {
      this.#value(column, test, path);
      return [{ column: name, operator: 'eq', value: test }];
    }
    const entries = Object.entries(test);
    if (entries.length === 0 || Array.isArray(test))
      this.#add(path, `expected a value or an object with ${Object.keys(OPERATORS).join(', ')}`);
    return entries.flatMap(([operator, value]) => this.#condition(name, column, operator, value));
  }

  #condition(name: string, column: Column, operator: string, value: unknown): Condition[] {
    const path = `filter.${name}.${operator}`;
    if (!isOperator(operator)) {
      this.#add(path, unknownName('operator', operator, Object.keys(OPERATORS)));
      return [];
    }
    if (operator === 'in') this.#value({ ...column, schema: z.array(column.schema).min(1).max(MAX_ROWS) }, value, path);
    else this.#value(column, value, path);
    return [{ column: name, operator, value }];
  }

  #column(name: string, path: string): Column | undefined {
    const { columns } = this.collection;
    if (Object.hasOwn(columns, name)) return columns[name];
    this.#add(path, unknownName(`column of "${this.name}"`, name, Object.keys(columns)));
    return undefined;
  }

  #value(column: Column, value: unknown, path: string): void {
    const parsed = column.schema.safeParse(value);
    for (const issue of parsed.error?.issues ?? []) this.#add([path, ...issue.path].join('.'), issue.message);
  }

  #readOnly(name: string, access: Access): string {
    return access === 'insert' ? `column "${name}" can be given to a new row only` : `column "${name}" is read-only`;
  }

  #add(path: string, message: string): void {
    // A thousand rows can be wrong in the same way.
    if (this.#issues.length < 20) this.#issues.push({ path, message });
  }
}

function isOperator(value: string): value is Operator {
  return Object.hasOwn(OPERATORS, value);
}

function unknownName(what: string, name: string, known: string[]): string {
  const shown = JSON.stringify(name.slice(0, 100));
  const nearest = closest(name, known);
  return nearest ? `${shown} is not a ${what}; did you mean "${nearest}"?` : `${shown} is not a ${what}; known: ${known.join(', ')}`;
}
