import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parse } from 'csv-parse';
import { stringify } from 'csv-stringify';

/**
 * @typedef {object} Purchase
 * @property {string} row
 * @property {string} user
 * @property {string} amount
 * @property {string} price
 * @property {string} currency
 */

/** Credits per package and their price in cents. */
const PACKAGES = [
  [10, 99],
  [50, 449],
  [100, 849],
  [250, 1999],
  [1000, 7499],
];
const CURRENCIES = ['EUR', 'USD', 'GBP'];

/** Writes the CSV; the same seed gives the same file. Every user occurs at least once. */
export async function writePurchases({ csv, tasks, users, seed }) {
  await mkdir(dirname(csv), { recursive: true });
  await pipeline(Readable.from(generate(tasks, users, seed)), stringify({ header: true }), createWriteStream(csv));
}

/**
 * Reads the CSV row by row.
 * @param {string} csv
 * @returns {AsyncIterable<Purchase>}
 */
export function readPurchases(csv) {
  return createReadStream(csv).pipe(parse({ columns: true }));
}

function* generate(tasks, users, seed) {
  const random = mulberry32(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  for (let row = 1; row <= tasks; row++) {
    const user = row <= users ? row : 1 + Math.floor(random() * users);
    const [credits, cents] = pick(PACKAGES);
    const times = 1 + Math.floor(random() * 3);
    yield {
      row,
      user: `user-${String(user).padStart(4, '0')}`,
      amount: credits * times,
      price: ((cents * times) / 100).toFixed(2),
      currency: pick(CURRENCIES),
    };
  }
}

/** A small generator with a seed (Tommy Ettinger, public domain): `Math.random` cannot be seeded. */
function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
