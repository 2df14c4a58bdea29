import type { Connection } from './connection.js';

/** What an account has used up of something, and how much it may. */
export interface AccountUse {
  readonly what: 'file storage' | 'memory storage' | 'streams' | 'consumers';
  readonly used: number;
  /** Undefined: the server sets none. */
  readonly limit: number | undefined;
}

/** What the account of this connection uses of JetStream. One API request. */
export async function accountUse(connection: Connection): Promise<AccountUse[]> {
  const { storage, memory, streams, consumers, limits } = await (await connection.admin()).getAccountInfo();
  const limit = (value: number | undefined) => (value !== undefined && value > 0 ? value : undefined);
  return [
    { what: 'file storage', used: storage, limit: limit(limits.max_storage) },
    { what: 'memory storage', used: memory, limit: limit(limits.max_memory) },
    { what: 'streams', used: streams, limit: limit(limits.max_streams) },
    { what: 'consumers', used: consumers, limit: limit(limits.max_consumers) },
  ];
}
