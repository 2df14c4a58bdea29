import { JetlaneError } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiKeys } from './api-keys.js';
import { assertScope, type Caller, localCaller } from './caller.js';
import type { RateLimits } from './rate-limits.js';
import type { Tokens } from './tokens.js';

export interface GatekeeperOptions {
  readonly keys: ApiKeys;
  readonly tokens: Tokens | undefined;
  readonly limits: RateLimits;
}

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Lets a request of the API in: finds its caller, counts it against the caller's rate, and checks its scope. */
export class Gatekeeper {
  /** Credentials are needed. Settled at the start: a file of keys that becomes empty locks everybody out, and lets nobody in. */
  readonly closed: boolean;

  constructor(private readonly options: GatekeeperOptions) {
    this.closed = options.keys.size > 0 || options.tokens !== undefined;
  }

  /** @throws JetlaneError `unauthorized`, `forbidden`, `rate-limited`, `service-unavailable` */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const caller = this.known(request) ?? (await this.checked(request));
    request.caller = caller;
    await this.options.limits.count(caller.name, reply);
    const { scope } = request.routeOptions.config;
    if (scope) assertScope(caller, scope);
  }

  /** Who is found without any cost: most callers. */
  private known(request: FastifyRequest): Caller | undefined {
    if (!this.closed) return localCaller(request.ip);
    const presented = presentedCredentials(request);
    if (presented === undefined) return undefined;
    return this.options.keys.find(presented) ?? this.options.tokens?.recall(presented);
  }

  /** Everybody else is counted by address first, so that guesses are few and signatures are not checked without end. */
  private async checked(request: FastifyRequest): Promise<Caller> {
    const { limits, tokens } = this.options;
    await limits.countRefused(request.ip);
    const presented = presentedCredentials(request);
    if (presented === undefined)
      throw new JetlaneError('unauthorized', 'credentials are needed: send "Authorization: Bearer <key or token>" or "X-API-Key: <key>"');
    if (!tokens || !TOKEN.test(presented))
      throw new JetlaneError('unauthorized', 'the API key is not known to this gateway, or has expired');
    const caller = await tokens.verify(presented);
    await limits.pardon(request.ip);
    return caller;
  }
}

function presentedCredentials({ headers }: FastifyRequest): string | undefined {
  const apiKey = headers['x-api-key'];
  if (typeof apiKey === 'string') return apiKey;
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}
