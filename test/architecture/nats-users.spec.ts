import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { resolveNatsServer } from '@jetlane/testing';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { inboxPrefix, makeUsers, readPermissions } from '../../scripts/lib/nats-users.mjs';
import { ROOT } from './dependency-rules.js';

const root = mkdtempSync(join(tmpdir(), 'jetlane-users-spec-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('npm run nats-users', () => {
  let keys: string;
  let out: string;
  beforeEach(() => {
    const dir = mkdtempSync(join(root, 'x-'));
    keys = join(dir, 'keys');
    out = join(dir, 'users.conf');
  });
  const seed = (user: string) => readFileSync(join(keys, `${user}.nk`), 'utf8');

  it('makes a key for every user, in a folder for nobody else, and keeps them the next time', async () => {
    const users = Object.keys((await readPermissions()).users);
    expect(await makeUsers({ keys, out })).toEqual({ made: users, kept: [] });
    expect(statSync(keys).mode & 0o777).toBe(0o700);
    const [before, config] = [seed('worker'), readFileSync(out, 'utf8')];
    expect(before).toMatch(/^SU[A-Z2-7]{56}\n$/);
    expect(await makeUsers({ keys, out })).toEqual({ made: [], kept: users });
    expect([seed('worker'), readFileSync(out, 'utf8')]).toEqual([before, config]);
    expect(config).not.toContain(before.trim());
    expect(await makeUsers({ keys, out, rotate: ['worker'] })).toMatchObject({ made: ['worker'] });
    expect(seed('worker')).not.toBe(before);
  });

  it('puts the namespace before every subject and stream of the installation', async () => {
    await makeUsers({ keys, out, namespace: 'acme' });
    const config = readFileSync(out, 'utf8');
    expect(config).not.toMatch(/\{ns/);
    expect(config).toContain('"acme.tasks.*.*.*"');
    expect(config).toContain('"$JS.API.CONSUMER.MSG.NEXT.*.acme_workers"');
    expect(config).toContain(`"${inboxPrefix('worker', 'acme')}.>"`);
  });

  it('says what is wrong: a user, a namespace, a seed', async () => {
    await expect(makeUsers({ keys, out, rotate: ['wroker'] })).rejects.toThrow('No user wroker; there are: producer, worker');
    await expect(makeUsers({ keys, out, namespace: 'A B' })).rejects.toThrow('"A B" is no namespace');
    await makeUsers({ keys, out });
    writeFileSync(join(keys, 'gateway.nk'), 'no seed');
    await expect(makeUsers({ keys, out })).rejects.toThrow('gateway.nk holds no NKey seed');
  });

  it('writes what the cluster of the compose file includes, and nats-server accepts', async () => {
    await makeUsers({ keys, out });
    copyFileSync(join(ROOT, 'deploy/nats/cluster.conf'), join(out, '..', 'cluster.conf'));
    const { path } = await resolveNatsServer();
    const env = { NATS_SERVER_NAME: 'nats-1' };
    const { stderr } = await promisify(execFile)(path, ['-t', '-c', join(out, '..', 'cluster.conf')], { env });
    expect(stderr).toMatch(/configuration file .* is valid/);
  });
});

describe('permissions.yaml', () => {
  it('gives every user a role, and every role a user', async () => {
    const { users, roles } = await readPermissions();
    expect([...new Set(Object.values(users))].sort()).toEqual(Object.keys(roles).sort());
  });
});
