import { createAccount, createOperator, createUser, type KeyPair } from '@nats-io/nkeys';

/** A JWT as nats-server reads it: claims of version 2, signed by an NKey. */
function sign(issuer: KeyPair, subject: KeyPair, type: 'operator' | 'account' | 'user', claims: object = {}): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = part({ typ: 'JWT', alg: 'ed25519-nkey' });
  const body = part({
    jti: type,
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name: type,
    sub: subject.getPublicKey(),
    nats: { type, version: 2, ...claims },
  });
  const signature = Buffer.from(issuer.sign(Buffer.from(`${head}.${body}`))).toString('base64url');
  return `${head}.${body}.${signature}`;
}

const UNLIMITED = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
const WITH_STREAMS = { ...UNLIMITED, mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

/** An operator with one account and one user: lines of a server's configuration, and the user's credentials file. */
export function credentials(): { config: string; creds: string } {
  const [operator, system, account, user] = [createOperator(), createAccount(), createAccount(), createUser()];
  const operatorJwt = sign(operator, operator, 'operator');
  const systemJwt = sign(operator, system, 'account', { limits: UNLIMITED });
  const accountJwt = sign(operator, account, 'account', { limits: WITH_STREAMS });
  const userJwt = sign(account, user, 'user', { subs: -1, data: -1, payload: -1 });
  const accounts = `${system.getPublicKey()}: ${systemJwt}, ${account.getPublicKey()}: ${accountJwt}`;
  const config = `operator: ${operatorJwt}\nsystem_account: ${system.getPublicKey()}\nresolver: MEMORY\nresolver_preload: { ${accounts} }`;
  const seed = Buffer.from(user.getSeed()).toString();
  const creds = `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;
  return { config, creds };
}
