import { get } from 'node:http';
import { get as getOverTls } from 'node:https';

const TIMEOUT_MS = 2_000;

/**
 * Status that a URL answers, 0 when it does not. A certificate is taken as it is: we ask a process of our own on this machine, whose
 * certificate names the host that others know it by.
 */
export function statusOf(url: string): Promise<number> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  return new Promise((resolve) => {
    const request = url.startsWith('https:')
      ? getOverTls(url, { rejectUnauthorized: false, agent: false, signal })
      : get(url, { agent: false, signal });
    request.once('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once('error', () => resolve(0));
  });
}
