import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** A mistake of the caller or of the environment: shown as one sentence, without a stack. */
export class DemoError extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode 1: the result is wrong or missing; 2: it could not even begin
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export const HELP = `npm run demo -- [options]

Generates a CSV of credit purchases, sends it through the gateway, waits until the worker host has done them all
and checks that every user's balance equals the sum of their purchases.

  --url URL       gateway               (default $JETLANE_URL or http://127.0.0.1:$GATEWAY_PORT, port 3000)
  --tasks N       purchases             (default 10000)
  --users N       users                 (default 500)
  --queue NAME    queue for them        (default default)
  --seed N        seed of the generator (default 1; the same seed gives the same CSV)
  --run ID        name of this run      (default: a new one; the same name again changes no balance)
  --batch N       lines per request     (default 1000)
  --stall S       give up after S seconds without progress (default 300)
  --api-key KEY   key of the gateway    (default $JETLANE_API_KEY)
  --csv FILE      where to write it     (default .jetlane/demo/purchases.csv)
  --help`;

const flags = {
  url: { type: 'string' },
  tasks: { type: 'string', default: '10000' },
  users: { type: 'string', default: '500' },
  queue: { type: 'string', default: 'default' },
  seed: { type: 'string', default: '1' },
  run: { type: 'string' },
  batch: { type: 'string', default: '1000' },
  stall: { type: 'string', default: '300' },
  'api-key': { type: 'string' },
  csv: { type: 'string' },
  help: { type: 'boolean', default: false },
};

/**
 * @typedef {object} DemoOptions
 * @property {URL} url
 * @property {number} tasks
 * @property {number} users
 * @property {string} queue
 * @property {number} seed
 * @property {string} run
 * @property {number} batch
 * @property {number} stallMs
 * @property {string | undefined} apiKey
 * @property {string} csv
 * @property {boolean} help
 */

/**
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {DemoOptions}
 */
export function readOptions(args, env) {
  const values = parse(args);
  const tasks = whole('tasks', values.tasks, 1, 10_000_000);
  return {
    url: gatewayUrl(values.url ?? env.JETLANE_URL ?? `${env.JETLANE_TLS_CERT ? 'https' : 'http'}://127.0.0.1:${env.GATEWAY_PORT ?? 3000}`),
    tasks,
    users: Math.min(tasks, whole('users', values.users, 1, 100_000)),
    queue: values.queue,
    seed: whole('seed', values.seed, 0, 2 ** 32 - 1),
    run: runId(values.run),
    batch: whole('batch', values.batch, 1, 100_000),
    stallMs: whole('stall', values.stall, 1, 86_400) * 1000,
    apiKey: values['api-key'] ?? env.JETLANE_API_KEY,
    csv: values.csv ?? join('.jetlane', 'demo', 'purchases.csv'),
    help: values.help,
  };
}

function parse(args) {
  try {
    return parseArgs({ args, options: flags, strict: true }).values;
  } catch (error) {
    throw new DemoError(`${error.message}\n\n${HELP}`, 2);
  }
}

function whole(name, text, min, max) {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new DemoError(`expected --${name} to be a whole number from ${min} to ${max}, got "${text}"`, 2);
}

function gatewayUrl(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new DemoError(`expected --url to be like http://127.0.0.1:3000, got "${text}"`, 2);
}

function runId(text) {
  const run = text ?? `${Date.now().toString(36)}-${randomBytes(3).toString('hex')}`;
  if (/^[A-Za-z0-9_-]{1,40}$/.test(run)) return run;
  throw new DemoError(`expected --run to be letters, digits, _ and -, at most 40; got "${text}"`, 2);
}
