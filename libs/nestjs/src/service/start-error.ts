import { JetlaneError } from '@jetlane/protocol';
import type { ServiceConfig } from './config.js';

/** One sentence for an error that an operator can mend, or `undefined` for one that nobody expected. */
export function explainStartError(
  error: unknown,
  config: Pick<ServiceConfig, 'name' | 'host' | 'port' | 'portVariable'>,
): string | undefined {
  const { name, host, port, portVariable } = config;
  switch ((error as { code?: unknown } | null)?.code) {
    case 'EADDRINUSE':
      return `${name}: port ${port} on ${host} is taken; stop the program that has it, or set ${portVariable} to another port`;
    case 'EACCES':
      return `${name}: no permission to listen on port ${port}; set ${portVariable} to a port above 1023`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `${name}: HOST=${host} is not an address of this machine; set HOST to one that is, or to 127.0.0.1`;
    case 'ENOENT':
      return `${name}: ${(error as Error).message}; check the path in the environment`;
    default:
      return error instanceof JetlaneError ? `${name}: ${error.message}` : undefined;
  }
}
