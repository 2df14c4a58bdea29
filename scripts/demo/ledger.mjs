import { readPurchases } from './purchases.mjs';
import { accountId, taskKey } from './submit.mjs';

const ACCOUNTS_PER_COUNT = 500;
const ACCOUNTS_PER_FIND = 100;
const PURCHASES_PER_LOOK = 500;
const STATES_PER_LOOK = 40;
const WAIT_MS = 10_000;

const keyOf = (id) => id.slice(id.indexOf('.') + 1);

/** What the CSV says the database must hold in the end, and the questions that tell whether it does. */
export class Ledger {
  /** @param {Map<string, {balance: number, tasks: string[]}>} expected by account */
  constructor(gateway, expected) {
    this.gateway = gateway;
    this.expected = expected;
    this.accounts = [...expected.keys()];
  }

  /** @param {import('./options.mjs').DemoOptions} options */
  static async read(gateway, options) {
    const expected = new Map();
    for await (const { row, user, amount } of readPurchases(options.csv)) {
      const id = accountId(options.run, user);
      const entry = expected.get(id) ?? { balance: 0, tasks: [] };
      entry.balance += Number(amount);
      entry.tasks.push(`${options.queue}.${taskKey(options.run, row)}`);
      expected.set(id, entry);
    }
    return new Ledger(gateway, expected);
  }

  get total() {
    return [...this.expected.values()].reduce((sum, { balance }) => sum + balance, 0);
  }

  /** Purchases in the database; `undefined` when no worker host has answered in time. */
  async completed() {
    const counts = await this.#ask('count', ACCOUNTS_PER_COUNT, (accounts) => ({
      collection: 'purchases',
      filter: { user_id: { in: accounts } },
    }));
    return counts?.reduce((sum, { count }) => sum + count, 0);
  }

  /** Accounts whose balance is not what the CSV says; `undefined` when no worker host has answered in time. */
  async wrong() {
    const pages = await this.#ask('find', ACCOUNTS_PER_FIND, (accounts) => ({
      collection: 'users',
      filter: { id: { in: accounts } },
      columns: ['id', 'balance'],
      limit: accounts.length,
    }));
    if (!pages) return undefined;
    const balances = new Map(pages.flatMap(({ rows }) => rows.map(({ id, balance }) => [id, balance])));
    return this.accounts
      .map((id) => ({ id, expected: this.expected.get(id).balance, found: balances.get(id) ?? 0 }))
      .filter(({ expected, found }) => expected !== found);
  }

  /** What became of purchases that these accounts miss: how many are in which state, and one that is given up. */
  async missing(accounts) {
    const ids = accounts.flatMap(({ id }) => this.expected.get(id).tasks).slice(0, PURCHASES_PER_LOOK);
    const keys = ids.map(keyOf);
    const data = { collection: 'purchases', filter: { payment_id: { in: keys } }, columns: ['payment_id'], limit: keys.length };
    const found = await this.gateway.runTask('find', data, WAIT_MS);
    const there = new Set(found?.rows.map((row) => row.payment_id));
    const missing = ids.filter((id) => !there.has(keyOf(id))).slice(0, STATES_PER_LOOK);
    const looked = await Promise.all(missing.map(async (id) => ({ id, ...(await this.gateway.status(id)) })));
    const states = new Map();
    for (const { state = 'unknown' } of looked) states.set(state, (states.get(state) ?? 0) + 1);
    return { states, dead: looked.find(({ state }) => state === 'dead' || state === 'cancelled') };
  }

  /** One task per portion of the accounts, all at once. */
  async #ask(type, portion, toData) {
    const parts = [];
    for (let i = 0; i < this.accounts.length; i += portion) parts.push(this.accounts.slice(i, i + portion));
    const results = await Promise.all(parts.map((accounts) => this.gateway.runTask(type, toData(accounts), WAIT_MS)));
    return results.includes(undefined) ? undefined : results;
  }
}
