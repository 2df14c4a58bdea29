import type { JetlaneError } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import { parseDefinitionsFile } from './definitions-file.js';

const problems = (text: string): string[] => {
  try {
    parseDefinitionsFile(text, 'f.yaml');
    return [];
  } catch (error) {
    const { code, details } = error as JetlaneError;
    expect(code).toBe('invalid-configuration');
    return (details.issues as { line: number; message: string }[]).map(({ line, message }) => `${line} ${message}`);
  }
};

describe('a file of queue definitions', () => {
  it('gives each queue under its name', () => {
    const text = 'queues:\n  mail:\n    workers: 2\n    limits: { rate: { count: 30 } }\n  plain:\n';
    expect(parseDefinitionsFile(text, 'f.yaml')).toEqual([
      { name: 'mail', workers: 2, limits: { rate: { count: 30 } } },
      { name: 'plain' },
    ]);
    for (const empty of ['', '# nothing\n', 'queues:\n', 'queues: {}\n']) expect(parseDefinitionsFile(empty, 'f')).toEqual([]);
  });

  it('tells every problem with its line, and what was meant', () => {
    const text = `queues:
  mail:
    worker: 2
    retry:
      atempts: 3
      initialDelay: soon
  Bad Name: {}
  reports:
    storage: disk
    limits:
      concurrency: 0
      colour: red
quewes: 1
`;
    expect(problems(text)).toEqual([
      '3 mail.worker: unknown field; did you mean "workers"?',
      '5 mail.retry.atempts: unknown field; did you mean "attempts"?',
      expect.stringMatching(/^6 queue "mail": retry.initialDelay: expected milliseconds/),
      expect.stringMatching(/^7 queue "Bad Name": name: /),
      expect.stringMatching(/^9 queue "reports": storage: .*"file"/),
      expect.stringMatching(/^11 queue "reports": limits.concurrency: /),
      '12 reports.limits.colour: unknown field; known here: concurrency, rate, group',
      '13 quewes: unknown field; did you mean "queues"?',
    ]);
  });

  it('tells what is no YAML, or no map', () => {
    expect(problems('queues:\n  a: [1, 2\n')[0]).toMatch(/^[23] /);
    expect(problems('queues:\n  a: {}\n  a: {}\n')[0]).toMatch(/^3 .*unique/);
    expect(problems('just text')[0]).toMatch(/expected a map "queues"/);
    expect(problems('queues: 5')[0]).toMatch(/^1 expected a map "queues"/);
    expect(problems('queues:\n  a: 5')[0]).toMatch(/^2 queue "a": expected the fields/);
    expect(problems('queues:\n  a:\n    name: b')[0]).toMatch(/^3 queue "a": the name is the key/);
  });
});
