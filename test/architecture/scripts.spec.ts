import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { isInstalled } from '../../scripts/lib/install.mjs';
import { nodeProblem } from '../../scripts/lib/node-version.mjs';
import { countResults } from '../../scripts/lib/vitest-results.mjs';

// The scripts behind `npm start` and `npm test` are plain JavaScript outside every package; what they decide is tested here.

describe('nodeProblem', () => {
  it.each(['20.19.0', '20.20.2', '22.0.0', '26.1.0'])('accepts %s', (version) => {
    expect(nodeProblem(version)).toBeUndefined();
  });

  it.each(['20.18.3', '18.20.4', '16.0.0'])('refuses %s, and says what to do', (version) => {
    expect(nodeProblem(version)).toMatch(`needs Node 20.19 or newer, but this is Node ${version}. Install`);
  });
});

describe('isInstalled', () => {
  const root = mkdtempSync(join(tmpdir(), 'jetlane-install-spec-'));
  const locked = {
    '': {},
    'libs/a': { version: '1.0.0' },
    'node_modules/x': { version: '1.2.3', integrity: 'sha512-x' },
    'node_modules/x-elsewhere': { version: '1.2.3', integrity: 'sha512-e', optional: true, os: ['aix'], cpu: [process.arch] },
    'node_modules/x-here': { version: '1.2.3', integrity: 'sha512-h', optional: true, os: [process.platform], cpu: [process.arch] },
  };
  const write = (path: string, packages: object) => writeFileSync(join(root, path), JSON.stringify({ packages }));

  beforeEach(() => {
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    write('package-lock.json', locked);
    const { 'node_modules/x': x, 'node_modules/x-here': here } = locked;
    write('node_modules/.package-lock.json', { 'node_modules/x': x, 'node_modules/x-here': here });
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('is true when everything for this platform is there', () => {
    expect(isInstalled(root)).toBe(true);
  });

  it('is false when a package is missing, has another version, or nothing is there', () => {
    write('node_modules/.package-lock.json', {});
    expect(isInstalled(root)).toBe(false);
    write('node_modules/.package-lock.json', { 'node_modules/x': { version: '1.2.2' } });
    expect(isInstalled(root)).toBe(false);
    rmSync(join(root, 'node_modules'), { recursive: true });
    expect(isInstalled(root)).toBe(false);
  });

  it('is false when an optional package for this very platform is missing', () => {
    write('node_modules/.package-lock.json', { 'node_modules/x': locked['node_modules/x'] });
    expect(isInstalled(root)).toBe(false);
  });

  it('is false when the list was cut off', () => {
    writeFileSync(join(root, 'node_modules/.package-lock.json'), '{"packages": {');
    expect(isInstalled(root)).toBe(false);
  });
});

describe('countResults', () => {
  const file = (status: string, ...tests: string[]) => ({
    status,
    assertionResults: tests.map((result) => ({ status: result, fullName: `a ${result} test` })),
  });

  it('adds up all files, and counts a file that failed as a whole as one failure', () => {
    const results = JSON.stringify({
      testResults: [file('passed', 'passed', 'passed', 'skipped'), file('failed', 'passed', 'failed'), file('failed')],
    });
    expect(countResults(results)).toEqual({ passed: 3, failed: 2, skipped: 1, skippedNames: ['a skipped test'] });
  });

  it('counts a file whose afterAll failed although its tests passed', () => {
    expect(countResults(JSON.stringify({ testResults: [file('failed', 'passed')] }))).toMatchObject({ passed: 1, failed: 1 });
  });
});
