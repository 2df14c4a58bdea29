import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import { parse } from 'yaml';
import { Failure } from './fail.mjs';
import { ROOT } from './run.mjs';

/**
 * @typedef {{ publish: string[], deny?: string[], subscribe: string[] }} Role
 * @typedef {{ users: Record<string, string>, roles: Record<string, Role> }} Permissions
 */

/** @returns {Promise<Permissions>} deploy/nats/permissions.yaml */
export async function readPermissions() {
  return parse(await readFile(join(ROOT, 'deploy/nats/permissions.yaml'), 'utf8'));
}

/** Where a user hears answers: its NATS_INBOX_PREFIX. */
export const inboxPrefix = (user, namespace = '') => `_INBOX.${namespace ? `${namespace}_` : ''}${user}`;

/**
 * The users of one installation, in the syntax of nats-server.
 *
 * @param {Permissions} permissions
 * @param {Record<string, string>} publicKeys NKey of each user
 */
export function renderUsers({ users, roles }, publicKeys, namespace = '') {
  const filled = (subjects = []) =>
    subjects.map((text) => text.replaceAll('{ns.}', namespace && `${namespace}.`).replaceAll('{ns_}', namespace && `${namespace}_`));
  const list = (subjects) => `[\n${subjects.map((subject) => `          ${JSON.stringify(subject)}`).join('\n')}\n        ]`;
  const blocks = Object.entries(users).map(([user, role]) => {
    const { publish, deny, subscribe } = roles[role];
    const inbox = `${inboxPrefix(user, namespace)}.>`;
    return `    # ${user}
    {
      nkey: ${publicKeys[user]}
      permissions {
        publish { allow: ${list(filled(publish))}${deny ? `, deny: ${list(filled(deny))}` : ''} }
        subscribe { allow: ${list([inbox, ...filled(subscribe)])} }
      }
    }`;
  });
  return `# Made by \`npm run nats-users\` from permissions.yaml: change that file, and run it again.
authorization {
  users: [
${blocks.join('\n')}
  ]
}
`;
}

/**
 * Makes the key of every user that has none, and the configuration with the permissions of all.
 *
 * @param {{ keys: string, out: string, namespace?: string, rotate?: readonly string[] }} options folder of the seeds, file for the
 *   server; users that get another key
 * @returns {Promise<{ made: string[], kept: string[] }>} users
 */
export async function makeUsers({ keys, out, namespace = '', rotate = [] }) {
  if (namespace && !/^[a-z0-9][a-z0-9-]{0,31}$/.test(namespace))
    throw new Failure(`"${namespace}" is no namespace: lower case letters, digits and -, at most 32.`);
  const permissions = await readPermissions();
  const users = Object.keys(permissions.users);
  const unknown = rotate.filter((user) => !users.includes(user));
  if (unknown.length > 0) throw new Failure(`No user ${unknown.join(', ')}; there are: ${users.join(', ')}.`);
  await mkdir(keys, { recursive: true });
  // The folder keeps others out; a container that gets one of the files runs as another user than we do, and must read it.
  await chmod(keys, 0o700);
  const made = [];
  const publicKeys = {};
  for (const user of users) {
    const file = join(keys, `${user}.nk`);
    const kept = rotate.includes(user) ? undefined : await readSeed(file);
    const key = kept ?? nkeys.createUser();
    if (!kept) {
      made.push(user);
      await writeFile(file, `${Buffer.from(key.getSeed())}\n`, { mode: 0o644 });
    }
    publicKeys[user] = key.getPublicKey();
  }
  await writeFile(out, renderUsers(permissions, publicKeys, namespace));
  return { made, kept: users.filter((user) => !made.includes(user)) };
}

async function readSeed(file) {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return nkeys.fromSeed(Buffer.from(text.trim()));
  } catch {
    throw new Failure(`${file} holds no NKey seed. Delete it, or name its user with --rotate, to get another.`);
  }
}
