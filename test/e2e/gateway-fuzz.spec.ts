import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Platform, startPlatform } from '@jetlane/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KINDS, type Kind, kindsOf, type Operation, operationsOf, requestOf } from '../support/fuzz/operations.js';
import { Random } from '../support/fuzz/random.js';
import { RawClient } from '../support/fuzz/raw-client.js';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
const SECONDS = Number(process.env.FUZZ_SECONDS ?? 15);
/** Every operation gets at least so many requests of each kind that it can get, however slow the machine is. */
const LEAST = 10;
const LEAST_OF_A_KIND = 200;
const CONNECTIONS = 48;

let folder: string;
let platform: Platform;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-fuzz-'));
  platform = await startPlatform({
    ports: 'random',
    dataDir: folder,
    restart: false,
    replicas: { worker: 0 },
    // No worker, so no database: it is told that there is one elsewhere.
    env: { NODE_ENV: 'production', DATABASE_URL: 'postgres://127.0.0.1:1/none', LOG_LEVEL: 'warn' },
  });
});

afterAll(async () => {
  await platform?.stop();
  await rm(folder, { recursive: true, force: true });
});

interface Finding {
  readonly why: string;
  readonly operation: string;
  readonly kind: Kind;
  readonly request: string;
  readonly answer: string;
}

/** Sends requests of all kinds to all operations in turn, until the time is over and each got its share. */
class Fuzzer {
  readonly findings: Finding[] = [];
  readonly sent = new Map<Kind, number>(KINDS.map((kind) => [kind, 0]));
  private readonly turns: readonly (readonly [Operation, Kind])[];
  private turn = 0;
  private readonly random = new Random(SEED);

  constructor(
    private readonly port: number,
    operations: readonly Operation[],
    private readonly deadline: number,
  ) {
    this.turns = operations.flatMap((operation) => kindsOf(operation).map((kind) => [operation, kind] as const));
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: CONNECTIONS }, () => this.lane(new RawClient(this.port))));
  }

  private get done(): boolean {
    const enough = this.turn >= LEAST * this.turns.length && [...this.sent.values()].every((count) => count >= LEAST_OF_A_KIND);
    return (enough && performance.now() > this.deadline) || this.findings.length >= 10;
  }

  private async lane(client: RawClient): Promise<void> {
    while (!this.done) {
      const [operation, kind] = this.turns[this.turn++ % this.turns.length]!;
      const { bytes, breaksFraming } = requestOf(operation, kind, this.random);
      this.sent.set(kind, this.sent.get(kind)! + 1);
      // What follows a request whose framing is broken is nobody's: it gets a connection of its own.
      const answer = await (breaksFraming ? new RawClient(this.port) : client).send(bytes);
      const why = fault(operation, answer, breaksFraming);
      if (why && !this.findings.some((found) => found.why === why && found.operation === `${operation.method} ${operation.path}`))
        this.findings.push({
          ...{ why, operation: `${operation.method} ${operation.path}`, kind },
          ...{ request: bytes.toString('latin1').slice(0, 600), answer: `${answer.head}\n\n${answer.body}`.slice(0, 800) },
        });
    }
    client.close();
  }
}

function fault(
  { declared }: Operation,
  { status, head, body }: { status: number; head: string; body: string },
  breaksFraming: boolean,
): string | undefined {
  if (status === -1) return 'no answer in time';
  if (status === 0) return breaksFraming ? undefined : 'the connection was closed without an answer';
  if (status >= 500 && !declared.has(status)) return `undeclared ${status}`;
  if (status === 500) return 'an error inside';
  if (status >= 400 && !/content-type: application\/problem\+json/i.test(head)) return `${status} that is no problem document`;
  if (/node_modules|\bat \S+ \(|\.js:\d+/.test(body) && status >= 400) return 'an answer that shows the inside';
  return undefined;
}

it('survives wrong bodies, parameters and headers on every route', async () => {
  const { gateway } = platform.urls;
  const document = (await (await fetch(`${gateway}/docs-json`)).json()) as Record<string, unknown>;
  const operations = operationsOf(document);
  const before = [...platform.services].map(([name, { pid }]) => [name, pid]);
  const fuzzer = new Fuzzer(Number(new URL(gateway).port), operations, performance.now() + SECONDS * 1000);
  process.stdout.write(`fuzz: FUZZ_SEED=${SEED} repeats the requests; ${operations.length} operations\n`);
  await fuzzer.run();
  process.stdout.write(`fuzz: sent ${[...fuzzer.sent].map(([kind, count]) => `${count} ${kind}`).join(', ')}\n`);
  expect(fuzzer.findings).toEqual([]);
  expect([...platform.services].map(([name, { pid }]) => [name, pid])).toEqual(before);
  expect((await fetch(`${gateway}/health/ready`)).status).toBe(200);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});
