import { readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FIXTURES } from './dependency-fixtures.js';
import { type CruiseReport, cruise, fixtureTree, ROOT } from './dependency-rules.js';

const RULES = (createRequire(import.meta.url)('../../.dependency-cruiser.cjs') as { forbidden: readonly { name: string }[] }).forbidden.map(
  (rule) => rule.name,
);
const FOLDERS = ['libs', 'apps', 'test'];

describe('dependency rules', () => {
  let tree: CruiseReport;
  let broken: CruiseReport;
  let fixtureRoot: string;

  beforeAll(async () => {
    fixtureRoot = await fixtureTree(FIXTURES);
    [tree, broken] = await Promise.all([cruise(ROOT, FOLDERS), cruise(fixtureRoot, FOLDERS)]);
  }, 60_000);

  afterAll(() => rm(fixtureRoot, { recursive: true, force: true }));

  it('hold in this tree', () => {
    expect(tree.violations).toEqual([]);
  });

  it('see every source file of this tree', async () => {
    for (const group of ['libs', 'apps']) {
      for (const name of await readdir(join(ROOT, group))) {
        expect(
          tree.modules.some((module) => module.startsWith(`${group}/${name}/src/`)),
          `${group}/${name} was not looked at`,
        ).toBe(true);
      }
    }
  });

  it('have a direction for every library', async () => {
    const libraries = (await readdir(join(ROOT, 'libs'))).filter((name) => name !== 'testing');
    expect(RULES).toEqual(expect.arrayContaining(libraries.map((name) => `libs-direction-${name}`)));
  });

  it.each(RULES)('%s fires on its fixture', (rule) => {
    const expected = FIXTURES.filter((fixture) => fixture.rule === rule).map((fixture) => fixture.file);
    expect(expected, `no fixture breaks ${rule}`).not.toEqual([]);
    const fired = new Set(broken.violations.filter((violation) => violation.rule === rule).map((violation) => violation.from));
    expect([...fired]).toEqual(expect.arrayContaining(expected));
  });

  it.each(FIXTURES.filter((fixture) => fixture.rule === undefined).map((fixture) => fixture.file))('%s is allowed', (file) => {
    expect(broken.modules).toContain(file);
    expect(broken.violations.filter((violation) => violation.from === file)).toEqual([]);
  });
});
