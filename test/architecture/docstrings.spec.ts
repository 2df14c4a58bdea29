import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './dependency-rules.js';
import { entryPoints, openProgram, undocumented } from './public-symbols.js';

/** A library with one of each kind of thing that may lack its docstring. */
const INDEX = `
export { Bare, type BareOptions, shown as renamed, Told } from './more.js';
/** Told. */
export const constant = 1;
export type Untold = string;
`;
const MORE = `
/** Told. */
export interface Told {
  /** Told. */
  run(): void;
  stop(): void;
  readonly field: string;
}
export class Bare implements Told {
  readonly field = '';
  run() {}
  stop() {}
  own() {}
  static make() {}
  private hidden() {}
  #hidden() {}
}
/** Told. */
export interface BareOptions {
  readonly needed: string;
  readonly left?: string;
  /** Told. */
  readonly out?: string;
}
export function shown() {}
export function inside() {}
`;

describe('every public symbol', () => {
  it('has a docstring, and so have methods and what may be left out of options', () => {
    const files = entryPoints(ROOT);
    expect(files).toContain('libs/nestjs/src/transport/index.ts');
    const { symbols, found } = undocumented(ROOT, openProgram(ROOT, files), files);
    expect(symbols).toBeGreaterThan(500);
    expect(found.map(({ name, where }) => `${where} ${name}`)).toEqual([]);
  }, 60_000);

  it('is looked at: what lacks one is found', async () => {
    const root = await mkdtemp(join(tmpdir(), 'jetlane-docstrings-'));
    try {
      await mkdir(join(root, 'libs/one/src'), { recursive: true });
      const exports = { '.': { 'jetlane-source': './src/index.ts' }, './package.json': './package.json' };
      await writeFile(join(root, 'libs/one/package.json'), JSON.stringify({ type: 'module', exports }));
      await writeFile(join(root, 'libs/one/src/index.ts'), INDEX);
      await writeFile(join(root, 'libs/one/src/more.ts'), MORE);
      const files = entryPoints(root);
      expect(files).toEqual(['libs/one/src/index.ts']);
      const { symbols, found } = undocumented(root, openProgram(root, files), files);
      expect(symbols).toBe(6);
      expect(found.map(({ name }) => name).sort()).toEqual([
        'Bare',
        'Bare.make',
        'Bare.own',
        'BareOptions.left',
        'Told.stop',
        'Untold',
        'shown',
      ]);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
});
