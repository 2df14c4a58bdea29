import { describe, expect, it } from 'vitest';
import { formatKeyLine, hashKey, newKey, parseKeyLines } from './key-line.js';

const HASH = hashKey('secret');
const line = (rest: string): string => `ci sha256:${HASH} ${rest}`;

describe('lines of keys', () => {
  it('are read with all their fields', () => {
    const text = `# comment\n\n${line('scopes=produce,read queues=default,orders expires=2027-01-31')}\nops sha256:${HASH} scopes=admin`;
    expect(parseKeyLines(text, 'file')).toEqual([
      { name: 'ci', hash: HASH, scopes: ['produce', 'read'], queues: ['default', 'orders'], expires: Date.UTC(2027, 0, 31) },
      { name: 'ops', hash: HASH, scopes: ['admin'] },
    ]);
  });

  it('are written as they are read', () => {
    const entry = { name: 'ci', hash: HASH, scopes: ['operate'], queues: ['a'], expires: 1_900_000_000_000 } as const;
    expect(parseKeyLines(formatKeyLine(entry), 'x')).toEqual([entry]);
  });

  it.each([
    ['secret-key-as-it-is', 'sha256:'],
    [`ci ${HASH} scopes=read`, 'sha256:'],
    ['ci sha256:abc scopes=read', 'sha256:'],
    [`ci sha256:${HASH}`, 'scopes='],
    [line('scopes='), 'scopes='],
    [line('scopes=root'), 'produce, read, operate, admin'],
    [line('scopes=read queues='), 'queues='],
    [line('scopes=read queues=UPPER'), 'queues='],
    [line('scopes=read expires=soon'), 'expires='],
    [line('scopes=read expires=2027-99-99'), 'expires='],
    [line('scopes=read color=red'), 'scopes=, queues= or expires='],
    [`-ci sha256:${HASH} scopes=read`, 'a name first'],
  ])('%s is refused', (text, says) => {
    expect(() => parseKeyLines(`# first\n${text}`, 'the file')).toThrow(says);
    expect(() => parseKeyLines(`# first\n${text}`, 'the file')).toThrow('the file, line 2:');
  });

  it('never tell what a wrong line holds: it may be a key', () => {
    try {
      parseKeyLines('jl_do_not_tell_me', 'file');
      expect.unreachable();
    } catch (error) {
      expect(String(error) + JSON.stringify(error)).not.toContain('do_not_tell');
    }
  });
});

it('keys are new every time, and long enough', () => {
  const keys = new Set(Array.from({ length: 100 }, newKey));
  expect(keys.size).toBe(100);
  for (const key of keys) expect(key).toMatch(/^jl_[\w-]{43}$/);
});
