import { readFileSync } from 'node:fs';
import { type Component, FileWatch } from '@jetlane/nestjs/service';
import { heldScopes, JetlaneError, SCOPES, type Scope } from '@jetlane/protocol';
import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { Logger } from 'pino';
import { type Caller, printable } from './caller.js';
import { hashKey } from './key-line.js';

/** Signature algorithms of key pairs. Those of a shared secret are refused: who could check a token could also make one. */
export const JWT_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

export interface TokensOptions {
  /** URL of the key set, or path of a file that holds one and is read again when it changes. */
  readonly jwks: string;
  readonly audience: string;
  readonly issuer: string;
  readonly algorithms: readonly string[];
}

/** A checked token is not checked again for this long, ms: that is also how long a key that was taken back still counts. */
const TRUST_MS = 60_000;
/** Checked tokens that are remembered. */
const MOST_REMEMBERED = 10_000;
const CLOCK_TOLERANCE_S = 5;

interface Remembered {
  readonly caller: Caller;
  readonly until: number;
}

/** Checks JSON Web Tokens against the key set of their issuer. */
export class Tokens implements Component {
  private keys: JWTVerifyGetKey;
  private readonly remembered = new Map<string, Remembered>();
  private readonly watch: FileWatch | undefined;

  /** @throws JetlaneError `invalid-configuration` */
  constructor(
    private readonly options: TokensOptions,
    private readonly logger: Pick<Logger, 'info' | 'error'>,
  ) {
    const { jwks } = options;
    this.watch = isUrl(jwks) ? undefined : new FileWatch([jwks]);
    this.keys = isUrl(jwks) ? createRemoteJWKSet(new URL(jwks)) : readKeys(jwks);
  }

  /** The bearer of a token that was checked a moment ago. */
  recall(token: string): Caller | undefined {
    const digest = hashKey(token);
    const found = this.remembered.get(digest);
    if (found && found.until > Date.now()) return found.caller;
    if (found) this.remembered.delete(digest);
    return undefined;
  }

  /** @throws JetlaneError `unauthorized`; `service-unavailable` when the key set cannot be had */
  async verify(token: string): Promise<Caller> {
    const { audience, issuer, algorithms } = this.options;
    const { payload } = await jwtVerify(token, this.keys, {
      audience,
      issuer,
      algorithms: [...algorithms],
      requiredClaims: ['exp', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_S,
    }).catch((error: unknown) => {
      throw refusal(error);
    });
    const caller = callerOf(payload);
    this.remember(token, caller);
    return caller;
  }

  async start(): Promise<void> {
    this.watch?.start(() => this.reload(this.options.jwks));
  }

  async stop(): Promise<void> {
    this.watch?.stop();
  }

  private remember(token: string, caller: Caller): void {
    if (this.remembered.size >= MOST_REMEMBERED) {
      const oldest = this.remembered.keys().next();
      if (!oldest.done) this.remembered.delete(oldest.value);
    }
    this.remembered.set(hashKey(token), { caller, until: Math.min(Date.now() + TRUST_MS, caller.expires ?? 0) });
  }

  private reload(path: string): void {
    try {
      this.keys = readKeys(path);
      this.remembered.clear();
      this.logger.info('jwks:reloaded');
    } catch (error) {
      this.logger.error({ reason: (error as Error).message }, 'jwks:reload-failed');
    }
  }
}

const isUrl = (text: string): boolean => /^https?:\/\//.test(text);

function readKeys(path: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(JSON.parse(readFileSync(path, 'utf8')) as JSONWebKeySet);
  } catch (error) {
    throw new JetlaneError('invalid-configuration', `JETLANE_JWT_JWKS: no key set can be read from ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** What a token lacks may be said: its bearer has it anyway. What is wrong with a signature is not. */
function refusal(error: unknown): JetlaneError {
  if (error instanceof errors.JWTExpired) return new JetlaneError('unauthorized', 'the token has expired; get a new one');
  if (error instanceof errors.JWTClaimValidationFailed)
    return new JetlaneError('unauthorized', `the token's claim "${error.claim}" is missing or not the one expected here`);
  const unreachable = error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError) || error.code === 'ERR_JOSE_GENERIC';
  if (unreachable)
    return new JetlaneError('service-unavailable', "the token cannot be checked: its issuer's keys cannot be fetched", { cause: error });
  return new JetlaneError('unauthorized', 'the token is not one that this gateway accepts', { cause: error });
}

/** Claims: `scope` (words) or `scopes` (list), each with or without the prefix `jetlane:`; `queues`, a list or words; none means all. */
function callerOf({ sub, exp, ...claims }: JWTPayload): Caller {
  const scopes = words(claims.scope ?? claims.scopes ?? []).map((word) => word.replace(/^jetlane:/, ''));
  const queues = claims.queues === undefined ? undefined : new Set(words(claims.queues));
  return {
    name: `jwt ${printable(sub ?? '')}`,
    scopes: heldScopes(scopes.filter(isScope)),
    ...(queues ? { queues } : {}),
    expires: (exp ?? 0) * 1000,
  };
}

const words = (claim: unknown): string[] =>
  typeof claim === 'string'
    ? claim.split(' ').filter(Boolean)
    : Array.isArray(claim)
      ? claim.filter((word) => typeof word === 'string')
      : [];

const isScope = (word: string): word is Scope => (SCOPES as readonly string[]).includes(word);
