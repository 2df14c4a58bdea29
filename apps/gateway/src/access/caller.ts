import { heldScopes, JetlaneError, parseTaskId, SCOPES, type Scope } from '@jetlane/protocol';

/** Who sent a request, and what it may do. */
export interface Caller {
  /** As audits and rate limits name it: `key ci`, `jwt user-17`, `http 127.0.0.1`. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** The only queues that it may use. Default: all. */
  readonly queues?: ReadonlySet<string>;
  /** Ms since 1970 after which its credentials no longer count. Default: never. */
  readonly expires?: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler of the API runs. */
    caller: Caller;
  }
  interface FastifyContextConfig {
    /** Scope that the caller of the route needs. */
    scope?: Scope;
  }
}

const EVERYTHING = heldScopes(SCOPES);

/** Somebody on this machine, where no credentials are set up: may do everything. */
export const localCaller = (address: string): Caller => ({ name: `http ${printable(address)}`, scopes: EVERYTHING });

/** A name that others chose (a token's subject, an address that a proxy told), as it may go into headers of NATS and into logs. */
export const printable = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 120);

/** True when the caller may use the queue. */
export const mayUse = ({ queues }: Caller, queue: string): boolean => queues === undefined || queues.has(queue);

/** @throws JetlaneError `forbidden` */
export function assertScope({ name, scopes }: Caller, scope: Scope): void {
  if (scopes.has(scope)) return;
  throw new JetlaneError(
    'forbidden',
    `${name} lacks the scope "${scope}" that this route needs; it has ${[...scopes].join(', ') || 'none'}`,
    {
      details: { scope },
    },
  );
}

/** @throws JetlaneError `forbidden` */
export function assertQueue(caller: Caller, queue: string): void {
  if (mayUse(caller, queue)) return;
  throw new JetlaneError('forbidden', `${caller.name} may not use the queue "${queue.slice(0, 64)}"; its queues are ${queuesOf(caller)}`, {
    details: { queue: queue.slice(0, 64) },
  });
}

/** @throws JetlaneError `forbidden`; `invalid-argument` for what is no task id */
export function assertTask(caller: Caller, id: string): void {
  assertQueue(caller, parseTaskId(id).queue);
}

/**
 * For what concerns all queues unless it names one.
 * @throws JetlaneError `forbidden` when the caller is limited to some queues and names none
 */
export function assertQueueNamed(caller: Caller, queue: string | undefined, field: string): void {
  if (queue !== undefined) return assertQueue(caller, queue);
  if (caller.queues === undefined) return;
  throw new JetlaneError('forbidden', `${caller.name} may use some queues only (${queuesOf(caller)}): name one of them in "${field}"`);
}

const queuesOf = ({ queues }: Caller): string => [...(queues ?? [])].slice(0, 10).join(', ') || 'none';
