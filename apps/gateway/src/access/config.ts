import { type Environment, isLoopback, readEnvironment } from '@jetlane/nestjs/service';
import { z } from 'zod';
import type { ApiKeysOptions } from './api-keys.js';
import type { RateLimitOptions, RequestRate } from './rate-limits.js';
import { JWT_ALGORITHMS, type TokensOptions } from './tokens.js';

/** Who may call the gateway, and how often. */
export interface AccessConfig {
  readonly keys: ApiKeysOptions;
  readonly tokens?: TokensOptions;
  readonly limits: RateLimitOptions;
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
}

const list = (text: string): string[] => text.split(',').flatMap((item) => item.trim() || []);
const UNITS = { s: 1, m: 60, h: 3600 } as const;

const rate = z.string().transform((text, context): RequestRate | undefined => {
  if (text === 'off') return undefined;
  const [, count, windows, unit] = /^([1-9]\d{0,8})\/([1-9]\d{0,4})?([smh])$/.exec(text) ?? [];
  if (count && unit) return { count: Number(count), seconds: Number(windows ?? 1) * UNITS[unit as keyof typeof UNITS] };
  context.addIssue({ code: 'custom', message: 'expected requests per time such as "100/s", "1000/10s" or "5000/m", or "off"' });
  return z.NEVER;
});

const schema = z
  .object({
    JETLANE_API_KEY_HASHES: z.string().default(''),
    JETLANE_API_KEYS_FILE: z.string().optional(),
    JETLANE_JWT_JWKS: z
      .string()
      .refine(isSafe, 'expected an https:// URL, an http:// URL on this machine, or the path of a file')
      .optional(),
    JETLANE_JWT_AUDIENCE: z.string().optional(),
    JETLANE_JWT_ISSUER: z.string().optional(),
    JETLANE_JWT_ALGORITHMS: z
      .string()
      .default('RS256,PS256,ES256,EdDSA')
      .transform(list)
      .refine(
        (names) => names.length > 0 && names.every((name) => (JWT_ALGORITHMS as readonly string[]).includes(name)),
        `expected some of ${JWT_ALGORITHMS.join(', ')}`,
      ),
    JETLANE_RATE_LIMIT: rate.prefault('20000/s'),
    JETLANE_RATE_LIMIT_REFUSED: rate.prefault('300/m'),
    JETLANE_TRUSTED_PROXIES: z.string().default('').transform(list),
  })
  .superRefine(({ JETLANE_JWT_JWKS, ...settings }, context) => {
    for (const field of ['JETLANE_JWT_AUDIENCE', 'JETLANE_JWT_ISSUER'] as const) {
      if ((JETLANE_JWT_JWKS === undefined) === (settings[field] === undefined)) continue;
      const message = JETLANE_JWT_JWKS
        ? 'needed with JETLANE_JWT_JWKS: else tokens for others would be taken'
        : 'of no use without JETLANE_JWT_JWKS';
      context.addIssue({ code: 'custom', path: [field], message });
    }
  });

/**
 * Reads who may call. An empty variable counts as unset.
 * @param plain the keys of JETLANE_API_KEYS
 * @throws JetlaneError `invalid-configuration`: lists every wrong variable, and none of their values
 */
export function readAccess(env: Environment, plain: readonly string[]): AccessConfig {
  const settings = readEnvironment(schema, env);
  const { JETLANE_JWT_JWKS: jwks, JETLANE_JWT_AUDIENCE: audience = '', JETLANE_JWT_ISSUER: issuer = '' } = settings;
  const file = settings.JETLANE_API_KEYS_FILE;
  return {
    keys: { plain, lines: settings.JETLANE_API_KEY_HASHES, ...(file ? { file } : {}) },
    ...(jwks ? { tokens: { jwks, audience, issuer, algorithms: settings.JETLANE_JWT_ALGORITHMS } } : {}),
    limits: { requests: settings.JETLANE_RATE_LIMIT, refused: settings.JETLANE_RATE_LIMIT_REFUSED },
    trustedProxies: settings.JETLANE_TRUSTED_PROXIES,
  };
}

/** Keys that came over a network that anybody can change would let anybody in. */
function isSafe(text: string): boolean {
  if (!/^https?:/i.test(text)) return true;
  try {
    const { protocol, hostname } = new URL(text);
    return protocol === 'https:' || isLoopback(hostname.replace(/^\[|\]$/g, ''));
  } catch {
    return false;
  }
}
