import { describe, expect, it } from 'vitest';
import { queueManagerConfig } from './config.js';

const search = (env: Record<string, string>) => queueManagerConfig(env).search;

describe('settings of the search', () => {
  it('a file by namespace and port, in the data folder or one of its own', () => {
    expect(search({ JETLANE_DATA_DIR: '/data', JETLANE_NAMESPACE: 'n', QUEUE_MANAGER_PORT: '3011' })).toEqual({
      file: '/data/search/n-3011.db',
      temporary: false,
    });
    expect(search({ JETLANE_DATA_DIR: '/data', JETLANE_SEARCH_DIR: '/fast' })?.file).toBe('/fast/default-3001.db');
    expect(search({})?.file).toMatch(/jetlane-search(-\d+)?.default-3001\.db$/);
  });

  it('of this process alone where the port is any', () => {
    expect(search({ QUEUE_MANAGER_PORT: '0', JETLANE_SEARCH_DIR: '/s' })).toEqual({
      file: `/s/default-pid-${process.pid}.db`,
      temporary: true,
    });
  });

  it('off, on, and nothing else', () => {
    expect(search({ JETLANE_SEARCH: 'off' })).toBeUndefined();
    expect(search({ JETLANE_SEARCH: 'on' })).toBeDefined();
    expect(() => search({ JETLANE_SEARCH: 'no' })).toThrow('JETLANE_SEARCH="no": expected on or off');
  });
});
