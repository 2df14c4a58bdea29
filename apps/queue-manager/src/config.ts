import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Environment, readServiceConfig, type ServiceConfig } from '@jetlane/nestjs/service';
import { JetlaneError } from '@jetlane/protocol';

/** Settings of the queue manager. */
export interface QueueManagerConfig extends ServiceConfig {
  /** The projection of finished tasks; undefined: none is kept. */
  readonly search?: SearchConfig;
}

/** Where the projection of finished tasks is kept. */
export interface SearchConfig {
  readonly file: string;
  /** The file is of this process alone, and deleted when it stops. */
  readonly temporary: boolean;
}

/** Settings of the queue manager from the environment. @throws JetlaneError `invalid-configuration` */
export function queueManagerConfig(env: Environment = process.env): QueueManagerConfig {
  const config = readServiceConfig('queue-manager', 3001, 'QUEUE_MANAGER_PORT', env);
  const search = searchConfig(env, config);
  return { ...config, ...(search ? { search } : {}) };
}

function searchConfig(env: Environment, { port, nats }: ServiceConfig): SearchConfig | undefined {
  const { JETLANE_SEARCH, JETLANE_SEARCH_DIR, JETLANE_DATA_DIR } = env;
  if (JETLANE_SEARCH === 'off') return undefined;
  if (JETLANE_SEARCH && JETLANE_SEARCH !== 'on') {
    const message = 'expected on or off';
    throw new JetlaneError(
      'invalid-configuration',
      `the environment is not valid: JETLANE_SEARCH=${JSON.stringify(JETLANE_SEARCH)}: ${message}`,
      {
        details: { issues: [{ variable: 'JETLANE_SEARCH', message }] },
      },
    );
  }
  const own = process.getuid ? `jetlane-search-${process.getuid()}` : 'jetlane-search';
  const folder = JETLANE_SEARCH_DIR || (JETLANE_DATA_DIR ? join(JETLANE_DATA_DIR, 'search') : join(tmpdir(), own));
  // Two queue-managers on one machine have two ports; a file of its own costs each what the records cost once.
  const who = port === 0 ? `pid-${process.pid}` : String(port);
  return { file: join(folder, `${nats.namespace || 'default'}-${who}.db`), temporary: port === 0 };
}
