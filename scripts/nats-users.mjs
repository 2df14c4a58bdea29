// npm run nats-users: makes a key for every user of deploy/nats/permissions.yaml, and the configuration that nats-server includes.
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, report } from './lib/fail.mjs';
import { makeUsers } from './lib/nats-users.mjs';
import { ROOT } from './lib/run.mjs';

const HELP = `npm run nats-users -- [options]

Makes an NKey for every user of deploy/nats/permissions.yaml that has none, and writes the configuration for nats-server.
Nothing of what it writes belongs into version control.

  --namespace NS  namespace of the installation (default none)
  --keys DIR      folder of the seeds           (default deploy/nats-keys)
  --out FILE      configuration to write        (default deploy/nats/users.conf)
  --rotate USER   another key for this user; may be given several times
  --help`;

try {
  const { values } = options();
  if (values.help) console.log(HELP);
  else {
    const { made, kept } = await makeUsers({ ...values, rotate: values.rotate ?? [] });
    const show = (path) => relative(ROOT, path) || path;
    if (made.length > 0) console.log(`new keys in ${show(values.keys)}: ${made.join(', ')}`);
    if (kept.length > 0) console.log(`kept: ${kept.join(', ')}`);
    console.log(`written: ${show(values.out)}. Running servers take it with \`nats-server --signal reload\`, or at a restart.`);
    if (made.length > 0) console.log(`Give each process its own seed (NATS_NKEY_SEED) and nothing else of that folder.`);
  }
} catch (error) {
  report(error);
  process.exitCode = 1;
}

function options() {
  try {
    return parseArgs({
      options: {
        namespace: { type: 'string', default: '' },
        keys: { type: 'string', default: join(ROOT, 'deploy/nats-keys') },
        out: { type: 'string', default: join(ROOT, 'deploy/nats/users.conf') },
        rotate: { type: 'string', multiple: true },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new Failure(`${error.message}\n\n${HELP}`);
  }
}
