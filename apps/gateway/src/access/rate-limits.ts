import { JetlaneError } from '@jetlane/protocol';
import type { FastifyReply } from 'fastify';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

/** So many requests in each window of so many seconds. */
export interface RequestRate {
  readonly count: number;
  readonly seconds: number;
}

/** Requests that callers may send, counted in this process. `undefined` limits nothing. */
export interface RateLimitOptions {
  /** Of each caller: a key's name, a token's subject; an address where no credentials are set up. */
  readonly requests: RequestRate | undefined;
  /** Of each address: requests whose credentials are missing or wrong, or have to be checked at some cost. */
  readonly refused: RequestRate | undefined;
}

/**
 * Counts requests by caller and by address, in fixed windows. Answers carry the headers of draft-ietf-httpapi-ratelimit-headers-06:
 * `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` (seconds) and `RateLimit-Policy`.
 */
export class RateLimits {
  private readonly requests: RateLimiterMemory | undefined;
  private readonly refused: RateLimiterMemory | undefined;
  private readonly limit: string;
  private readonly policy: string;

  constructor({ requests, refused }: RateLimitOptions) {
    this.requests = requests && limiter(requests);
    this.refused = refused && limiter(refused);
    this.limit = String(requests?.count ?? '');
    this.policy = `${requests?.count};w=${requests?.seconds}`;
  }

  /** Counts a request of a caller. @throws JetlaneError `rate-limited` */
  async count(caller: string, reply: FastifyReply): Promise<void> {
    if (!this.requests) return;
    const taken = await take(this.requests, caller);
    const { remainingPoints, msBeforeNext } = taken.result;
    const reset = seconds(msBeforeNext);
    reply.header('ratelimit-limit', this.limit);
    reply.header('ratelimit-remaining', String(remainingPoints));
    reply.header('ratelimit-reset', String(reset));
    reply.header('ratelimit-policy', this.policy);
    if (taken.over) throw limited(`${caller} has sent its ${this.limit} requests of this window`, reset);
  }

  /** Counts a request of an address that shows no valid credentials. @throws JetlaneError `rate-limited` */
  async countRefused(address: string): Promise<void> {
    if (!this.refused) return;
    const { over, result } = await take(this.refused, address);
    if (over) throw limited(`${address} has sent too many requests without valid credentials`, seconds(result.msBeforeNext));
  }

  /** Gives back what {@link countRefused} counted: the credentials were good. */
  async pardon(address: string): Promise<void> {
    await this.refused?.reward(address);
  }
}

const limiter = ({ count, seconds }: RequestRate): RateLimiterMemory => new RateLimiterMemory({ points: count, duration: seconds });

const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));

/** The library throws its result when the limit is passed. */
async function take(from: RateLimiterMemory, key: string): Promise<{ over: boolean; result: RateLimiterRes }> {
  try {
    return { over: false, result: await from.consume(key) };
  } catch (result) {
    if (result instanceof RateLimiterRes) return { over: true, result };
    throw result;
  }
}

function limited(what: string, seconds: number): JetlaneError {
  return new JetlaneError('rate-limited', `${what}; send again in ${seconds} s`, { details: { retryAfterSeconds: seconds } });
}
