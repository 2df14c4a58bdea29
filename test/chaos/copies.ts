import type { ServiceProcess } from '@jetlane/testing';
import { Child } from '../support/child.js';
import type { LinkProxy } from '../support/link-proxy.js';
import type { ResiliencyInput } from './programs/inputs.js';
import { NAMESPACE } from './site.js';

/** One of the two copies of resiliency, all of whose words go through a proxy. */
export interface Copy {
  readonly proxy: LinkProxy;
  /** How often it was killed. */
  readonly kills: number;
  /** SIGKILL. Resolves when it is dead. */
  kill(): Promise<void>;
  /** Resolves when there is a new process in its place. */
  back(): Promise<void>;
  /** Ends what this run started. */
  end(): Promise<void>;
}

/** The service itself; its launcher starts it again. */
export function serviceCopy(service: ServiceProcess, proxy: LinkProxy): Copy {
  let kills = 0;
  return {
    proxy,
    get kills() {
      return kills;
    },
    kill: async () => {
      const { exited } = service;
      kills++;
      service.kill('SIGKILL');
      await exited;
    },
    back: async () => {
      while (!(await service.isReady()));
    },
    end: async () => undefined,
  };
}

/** A process of the tests, without a protection. */
export async function startCopy(proxy: LinkProxy, off: readonly string[]): Promise<Copy> {
  const input: ResiliencyInput = { url: proxy.url, namespace: NAMESPACE, replicas: 1, off };
  const start = async () => {
    const child = await Child.start('test/chaos/programs/resiliency.ts', input);
    await child.said('started', 1, 60_000);
    return child;
  };
  let child = await start();
  return {
    proxy,
    // The service in whose place it stands is not killed: it is stopped.
    kills: 0,
    kill: () => child.end(),
    back: async () => {
      child = await start();
    },
    end: () => child.end(),
  };
}
