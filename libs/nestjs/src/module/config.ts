import { JetlaneError } from '@jetlane/protocol';

/**
 * What a process does with its queues. `producer` enqueues and starts no worker; `worker` and `all` do both (a handler may
 * enqueue too) and differ in name only, for a process that asks its role before it opens an HTTP port.
 */
export type JetlaneRole = 'producer' | 'worker' | 'all';

const ROLES: readonly string[] = ['producer', 'worker', 'all'] satisfies JetlaneRole[];

/**
 * The role of this process: the given one, else `JETLANE_ROLE`, else `all`. An empty variable counts as unset.
 * @throws JetlaneError `invalid-configuration` for anything but `producer`, `worker` or `all`
 */
export function readRole(given?: JetlaneRole, env: Readonly<Record<string, string | undefined>> = process.env): JetlaneRole {
  const role = given ?? (env.JETLANE_ROLE || 'all');
  if (ROLES.includes(role)) return role as JetlaneRole;
  const where = given === undefined ? 'JETLANE_ROLE' : 'role';
  throw new JetlaneError('invalid-configuration', `expected ${where} to be ${ROLES.join(', ')}; got ${JSON.stringify(role)}`, {
    details: { field: where },
  });
}
