import { connect } from 'node:net';
import { LaunchError, reasonOf } from '../errors.js';
import { isAtLeast, MINIMUM_NATS_VERSION } from './version.js';

/** What a nats-server says of itself to everyone who connects. */
export interface ServerInfo {
  version: string;
  jetstream: boolean;
  serverName: string;
}

/** Connects, reads the INFO line and hangs up. */
export function readServerInfo(host: string, port: number, timeoutMs = 2_000): Promise<ServerInfo> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    let text = '';
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.once('timeout', () => fail(new Error(`no answer within ${timeoutMs} ms`)));
    socket.once('error', fail);
    socket.once('close', () => fail(new Error('the connection was closed')));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const line = /^INFO (\{.*\})\s*\r\n/.exec(text)?.[1];
      if (line === undefined) return;
      resolve(parseInfo(line));
      socket.destroy();
    });
  });
}

/**
 * Checks a server that somebody else runs before anything is built on it.
 *
 * @param urls comma separated; one that answers is enough
 * @throws LaunchError `nats-unreachable`, `nats-server-too-old` or `jetstream-disabled`
 */
export async function checkNatsUrl(urls: string): Promise<ServerInfo> {
  const reasons: string[] = [];
  for (const url of urls.split(',').map((part) => part.trim())) {
    try {
      const { hostname, port } = new URL(url.includes('://') ? url : `nats://${url}`);
      return assertUsable(url, await readServerInfo(hostname, Number(port || 4222)));
    } catch (error) {
      if (error instanceof LaunchError) throw error;
      reasons.push(`${withoutPassword(url)}: ${reasonOf(error)}`);
    }
  }
  const message = `NATS_URL is set, but no server answers there (${reasons.join('; ')}). Start it, correct NATS_URL, or unset it to run an embedded server.`;
  throw new LaunchError('nats-unreachable', message, { retryable: true, details: { reasons } });
}

function assertUsable(url: string, info: ServerInfo): ServerInfo {
  const where = withoutPassword(url);
  if (!isAtLeast(info.version, MINIMUM_NATS_VERSION)) {
    const message = `The nats-server at ${where} is ${info.version}, but Jetlane needs ${MINIMUM_NATS_VERSION} or newer. Update it, or unset NATS_URL to run an embedded server.`;
    throw new LaunchError('nats-server-too-old', message, { details: { version: info.version, minimum: MINIMUM_NATS_VERSION } });
  }
  if (!info.jetstream) {
    const message = `The nats-server at ${where} runs without JetStream. Start it with "-js" or a jetstream block in its configuration, or unset NATS_URL.`;
    throw new LaunchError('jetstream-disabled', message);
  }
  return info;
}

function parseInfo(line: string): ServerInfo {
  const info = JSON.parse(line) as { version?: string; jetstream?: boolean; server_name?: string };
  return { version: info.version ?? '0.0.0', jetstream: info.jetstream === true, serverName: info.server_name ?? '' };
}

/** A URL fit to be shown: `nats://user:secret@host` becomes `nats://host`. */
export function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//');
}
