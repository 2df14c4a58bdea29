import { parseArgs } from 'node:util';
import { formatKeyLine, hashKey, isKeyName, type KeyEntry, newKey, readQueues, readScopes, readTime } from './access/key-line.js';

const USAGE = `Makes an API key for the gateway. The key is shown once; only its hash is kept.

  npm run key -- --name NAME --scopes SCOPES [--queue QUEUE]... [--expires WHEN]

  --name     who holds it; a second key of the same name is the next one of a rotation
  --scopes   one or more of produce, read, operate, admin, comma separated
  --queue    a queue that it is limited to; may be given several times. Default: all queues
  --expires  a date such as 2027-01-31, or days from now such as 90d. Default: never
`;

const DAY_MS = 86_400_000;

function readEntry(args: string[], key: string): KeyEntry {
  const { values } = parseArgs({
    args,
    options: {
      name: { type: 'string' },
      scopes: { type: 'string' },
      queue: { type: 'string', multiple: true },
      expires: { type: 'string' },
    },
  });
  if (!values.name || !values.scopes) throw new Error('expected --name and --scopes');
  if (!isKeyName(values.name)) throw new Error('expected --name with letters, digits and . _ @ -, at most 64');
  return {
    name: values.name,
    hash: hashKey(key),
    scopes: readScopes(values.scopes),
    ...(values.queue ? { queues: readQueues(values.queue.join(',')) } : {}),
    ...(values.expires ? { expires: readExpiry(values.expires) } : {}),
  };
}

function readExpiry(text: string): number {
  const days = /^([1-9]\d{0,4})d$/.exec(text)?.[1];
  return days ? Date.now() + Number(days) * DAY_MS : readTime(text);
}

function main(args: string[]): number {
  if (args.length === 0 || args.includes('--help')) {
    process.stdout.write(USAGE);
    return args.length === 0 ? 2 : 0;
  }
  try {
    const key = newKey();
    const line = formatKeyLine(readEntry(args, key));
    process.stderr.write('The key, shown this once:\n');
    process.stdout.write(`${key}\n`);
    process.stderr.write('Its line for JETLANE_API_KEYS_FILE (or JETLANE_API_KEY_HASHES):\n');
    process.stdout.write(`${line}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
}

process.exitCode = main(process.argv.slice(2));
