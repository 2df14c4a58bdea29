import { FatalError } from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CollectionCheck } from './check.js';
import { DEFAULT_COLLECTIONS } from './config.js';

const columns = Object.keys(DEFAULT_COLLECTIONS.users?.columns ?? {});
const name = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'hasOwnProperty', ...columns));

describe('CollectionCheck', () => {
  it('lets no name through that the collection does not list', () => {
    fc.assert(
      fc.property(fc.dictionary(name, fc.jsonValue()), (filter) => {
        const check = CollectionCheck.open(DEFAULT_COLLECTIONS, 'users', 'find');
        const conditions = check.filter(filter);
        expect(conditions.every(({ column }) => columns.includes(column))).toBe(true);
        const strange = Object.keys(filter).some((key) => !columns.includes(key));
        if (strange) expect(() => check.done()).toThrow(FatalError);
      }),
    );
  });

  it('opens listed collections only', () => {
    fc.assert(
      fc.property(name, (collection) => {
        fc.pre(!Object.keys(DEFAULT_COLLECTIONS).includes(collection));
        expect(() => CollectionCheck.open(DEFAULT_COLLECTIONS, collection, 'find')).toThrow(FatalError);
      }),
    );
  });

  it('caps the list of issues', () => {
    const check = CollectionCheck.open(DEFAULT_COLLECTIONS, 'users', 'insert');
    for (let i = 0; i < 1000; i++) check.row({ nonsense: i }, 'insert', 'data');
    let caught: unknown;
    try {
      check.done();
    } catch (error) {
      caught = error;
    }
    expect((caught as FatalError).details.issues).toHaveLength(20);
  });
});
